"""ConversionReview: how a webhook is asked for objects in another version, and what it may answer.

A conversion changes everything but the metadata; of that only labels and annotations. Rules and
texts are those of apiextensions-apiserver's `pkg/apiserver/conversion`.
"""

from collections.abc import Sequence
from typing import Any

from minikube_py.api import metadata
from minikube_py.api.fields import Field
from minikube_py.api.object import Obj
from minikube_py.api.patch.errors import go_type

GROUP = "apiextensions.k8s.io"
VERSIONS = ("v1", "v1beta1")


class ConversionError(ValueError):
    """Objects could not be converted; the text says why."""


def kind_text(api_version: Any, kind: Any) -> str:
    """Return a kind as Go prints it: `example.com/v1, Kind=Widget`."""
    group, _, version = str(api_version or "").rpartition("/")
    return f"{group}/{version}, Kind={kind or ''}"


def version_of(versions: Sequence[str]) -> str:
    """Return the first version of ConversionReview that both sides know."""
    for version in versions:
        if version in VERSIONS:
            return version
    raise ConversionError("no supported conversion review versions")


def review(objects: Sequence[Any], api_version: str, uid: str, version: str) -> dict[str, Any]:
    """Return the document that a webhook is asked with."""
    request = {"uid": uid, "desiredAPIVersion": api_version, "objects": list(objects)}
    return {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{version}", "request": request}


def answered(document: Any, uid: str, version: str) -> Sequence[Any]:
    """Return the objects of an answer; raises ConversionError where it has none."""
    if not isinstance(document, dict):
        raise ConversionError(
            f"json: cannot unmarshal {go_type(document)} into Go value of type ConversionReview"
        )
    shown, wanted = _kind_of(document), kind_text(f"{GROUP}/{version}", "ConversionReview")
    if version == "v1" and shown != wanted:
        raise ConversionError(f"expected webhook response of {wanted}, got {shown}")
    response = document.get("response")
    if not isinstance(response, dict):
        raise ConversionError("no response provided")
    given = response.get("uid", "")
    if version == "v1" and given != uid:
        raise ConversionError(f'expected response.uid="{uid}", got "{given}"')
    _check_result(response.get("result"))
    objects = response.get("convertedObjects") or ()
    if not isinstance(objects, list | tuple):
        raise ConversionError(f"json: cannot unmarshal {go_type(objects)} into convertedObjects")
    return objects


def _kind_of(document: Obj) -> str:
    return kind_text(document.get("apiVersion"), document.get("kind"))


def _check_result(result: Any) -> None:
    result = result if isinstance(result, dict) else {}
    status, message = result.get("status") or "", result.get("message")
    if status == "Success":
        return
    if isinstance(message, str) and message:
        raise ConversionError(message)
    raise ConversionError(f"response.result.status was '{status}', not 'Success'")


def restored(original: Obj, converted: Any, api_version: str, where: str = "") -> dict[str, Any]:
    """Return a converted object with the metadata of the original, labels and annotations aside.

    `where` is ` at index 3` where there are several.

    Raises:
        ConversionError: it is not the same object in the version that was asked for.

    """
    if not isinstance(converted, dict):
        raise ConversionError(f"returned invalid object{where}: it is no object")
    given = converted.get("apiVersion") or ""
    if given != api_version:
        raise ConversionError(
            f"returned invalid object{where}: invalid groupVersion (expected {api_version}, "
            f"received {given})"
        )
    difference = _difference(original, converted)
    if difference:
        raise ConversionError(f"returned invalid object{where}: {difference}")
    try:
        meta = _restored_metadata(original, converted)
    except ConversionError as error:
        place = f" in object{where}" if where else ""
        raise ConversionError(f"returned invalid metadata{place}: {error}") from error
    return {**converted, "metadata": meta}


def _difference(original: Obj, converted: Obj) -> str:
    if original.get("kind") != converted.get("kind"):
        return f"must have the same kind: {original.get('kind')} != {converted.get('kind') or ''}"
    given = converted.get("metadata")
    meta = given if isinstance(given, dict) else {}
    for key, title in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        before = original["metadata"].get(key) or ""
        after = meta.get(key) or ""
        if before != after:
            return f"must have the same {title}: {before} != {after}"
    return ""


def _restored_metadata(original: Obj, converted: Obj) -> dict[str, Any]:
    given = converted.get("metadata")
    if given is None:
        raise ConversionError("missing metadata in converted object")
    if not isinstance(given, dict):
        raise ConversionError(f"invalid metadata of type {go_type(given)} in converted object")
    meta = dict(original["metadata"])
    for key in ("labels", "annotations"):
        value = given.get(key)
        if value is None:
            meta.pop(key, None)
        elif value != meta.get(key):
            _check_texts(value, key)
            meta[key] = value
    return meta


def _check_texts(value: Any, key: str) -> None:
    if not isinstance(value, dict):
        raise ConversionError(
            f"invalid metadata.{key} of type {go_type(value)} in converted object"
        )
    for name, text in value.items():
        if not isinstance(text, str):
            raise ConversionError(
                f"metadata.{key}[{name}] must be a string, but is {go_type(text)} in converted "
                "object"
            )
    field = Field("metadata") / key
    check = metadata.validate_labels if key == "labels" else metadata.validate_annotations
    errors = [str(error) for error in check(value, field)]
    if errors:
        raise ConversionError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
