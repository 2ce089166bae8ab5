"""What the reviews of authorisation ask, and what is wrong with a question."""

from collections.abc import Iterator, Mapping

from minikube_py.api.authorization.selector_rules import validate_selectors
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.api.strategy import changed, with_absent

SPEC = Field("spec")
RESOURCE, OTHER = SPEC / "resourceAttributes", SPEC / "nonResourceAttributes"


def default(review: Obj) -> Obj:
    """Fill in what is always shown."""
    review = with_absent(review, {"spec": {}, "status": {}})
    return changed(review, "status", lambda status: with_absent(status, {"allowed": False}))


def validate_self(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a question about oneself."""
    yield from _validate_attributes(new["spec"])
    yield from _validate_no_metadata(new["metadata"], "must be empty")


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a question about somebody."""
    yield from _validate_spec(new["spec"])
    yield from _validate_no_metadata(new["metadata"], "must be empty")


def validate_local(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a question about one namespace."""
    spec, metadata = new["spec"], new["metadata"]
    yield from _validate_spec(spec)
    rest = {key: value for key, value in metadata.items() if key != "namespace"}
    yield from _validate_no_metadata(rest, "must be empty except for namespace")
    namespace = (spec.get("resourceAttributes") or {}).get("namespace", "")
    if spec.get("resourceAttributes") is not None and namespace != metadata.get("namespace", ""):
        yield (RESOURCE / "namespace").invalid(namespace, "must match metadata.namespace")
    if spec.get("nonResourceAttributes") is not None:
        yield OTHER.invalid(
            _shown(spec["nonResourceAttributes"]), "disallowed on this kind of request"
        )


def _validate_spec(spec: Obj) -> Iterator[FieldError]:
    yield from _validate_attributes(spec)
    if not spec.get("user") and not spec.get("groups"):
        yield (SPEC / "user").invalid("", "at least one of user or group must be specified")


def _validate_attributes(spec: Obj) -> Iterator[FieldError]:
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and other is not None:
        yield OTHER.invalid(
            _shown(other), "cannot be specified in combination with resourceAttributes"
        )
    if resource is None and other is None:
        yield RESOURCE.invalid(
            None,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
    if resource is not None:
        yield from validate_selectors(resource, RESOURCE)


def _shown(attributes: Obj) -> Mapping[str, str]:
    return {"Path": attributes.get("path", ""), "Verb": attributes.get("verb", "")}


_SET_BY_SERVER = frozenset({"creationTimestamp", "managedFields"})


def _validate_no_metadata(metadata: Obj, text: str) -> Iterator[FieldError]:
    given = {key: value for key, value in metadata.items() if key not in _SET_BY_SERVER and value}
    if given:
        yield Field("metadata").invalid(given, text)
