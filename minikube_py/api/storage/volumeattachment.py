"""Volume attachments: a volume that is or is to be attached to a node."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.persistentvolume_validation import validate_inline_volume_spec
from minikube_py.api.core.volume_sources import validate_csi_driver_name
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent

SPEC, STATUS = Field("spec"), Field("status")
EMPTY_STATUS = {"attached": False}
METADATA_BYTES_MAX = 256 * 1024
MESSAGE_BYTES_MAX = 1024
INT32_MAX = (1 << 31) - 1
_EITHER = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
_SPEC = {"attacher": "", "nodeName": "", "source": {}}


def attachment_name(source: Obj, node: str) -> str:
    """Return the name of the attachment of a CSI volume to a node, as all work it out."""
    text = f"{source['volumeHandle']}{source['driver']}{node}"
    return f"csi-{hashlib.sha256(text.encode()).hexdigest()}"


def default(va: Obj) -> Obj:
    """Fill in what is always shown."""
    va = with_absent(va, {"spec": {}, "status": {}})
    va = changed(va, "spec", lambda spec: with_absent(spec, _SPEC))
    return changed(va, "status", _default_status)


def _default_status(status: Obj) -> Obj:
    for key in ("attachError", "detachError"):
        status = changed(status, key, lambda error: with_absent(error, {"time": None}))
    return with_absent(status, EMPTY_STATUS)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated attachment; its spec never changes."""
    spec = new["spec"]
    if spec["attacher"]:
        yield from validate_csi_driver_name(spec["attacher"], SPEC / "attacher")
    else:
        yield (SPEC / "attacher").required()
    yield from _validate_source(spec["source"], SPEC / "source")
    for text in names.dns1123_subdomain(spec["nodeName"]):
        yield (SPEC / "nodeName").invalid(spec["nodeName"], text)
    yield from _validate_status(new.get("status") or {})
    if old is not None and spec != old["spec"]:
        yield SPEC.immutable(go_value(spec, "VolumeAttachmentSpec"))


def _validate_source(source: Obj, field: Field) -> Iterator[FieldError]:
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if name is None and inline is None:
        yield field.required(_EITHER)
    elif name is not None and inline is not None:
        yield field.forbidden(_EITHER)
    elif name == "":
        yield (field / "persistentVolumeName").required(
            "must specify non empty persistentVolumeName"
        )
    elif inline is not None:
        yield from validate_inline_volume_spec(inline, field / "inlineVolumeSpec")
    elif name is not None:
        for text in names.dns1123_subdomain(name):
            yield (field / "persistentVolumeName").invalid(name, text)


def _validate_status(status: Obj) -> Iterator[FieldError]:
    data = status.get("attachmentMetadata") or {}
    size = sum(len(key.encode()) + len(value.encode()) for key, value in data.items())
    if size > METADATA_BYTES_MAX:
        yield (STATUS / "attachmentMetadata").too_long(METADATA_BYTES_MAX)
    for key in ("attachError", "detachError"):
        message = get(status, f"{key}.message", "")
        if len(message) > MESSAGE_BYTES_MAX:
            yield (STATUS / key / "message").too_long(METADATA_BYTES_MAX)  # upstream's slip
        code = get(status, f"{key}.errorCode")
        if code is not None and code < 0:
            yield (STATUS / key / "errorCode").invalid(code, names.range_message(0, INT32_MAX))


def cells(va: Obj) -> Sequence[Any]:
    """Return the cells of an attachment's row."""
    spec: Obj = va.get("spec") or {}
    return (
        va["metadata"]["name"],
        spec.get("attacher", ""),
        get(spec, "source.persistentVolumeName", ""),
        spec.get("nodeName", ""),
        get(va, "status.attached", False),
        Age(get(va, "metadata.creationTimestamp")),
    )


VOLUMEATTACHMENTS = Resource(
    group="storage.k8s.io",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    schema="io.k8s.api.storage.v1.VolumeAttachment",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=strategy.RESET_METADATA),
            validate=validate,
        ),
    ),
    columns=(
        NAME,
        Column("Attacher", format="name"),
        Column("PV"),
        Column("Node"),
        Column("Attached", "boolean"),
        AGE,
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(EMPTY_STATUS, generation=False),
    prepare_for_update=strategy.updating(),
    validate=validate,
    allow_unconditional_update=False,
    returns_deleted_object=True,
)
