"""CSI drivers: what a storage driver wants and offers."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import printing, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.strategy import changed, with_absent, with_empty

SPEC = Field("spec")
GROUP_POLICIES = frozenset({"ReadWriteOnceWithFSType", "File", "None"})
MODES = ("Persistent", "Ephemeral")
TOKEN_SECONDS_MIN = 600
TOKEN_SECONDS_MAX = 1 << 32
UPDATE_PERIOD_SECONDS_MIN = 10
_SPEC = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "requiresRepublish": False,
    "seLinuxMount": False,
}

_IMMUTABLE = (
    ("attachRequired", "attachedRequired"),
    ("volumeLifecycleModes", "volumeLifecycleModes"),
)
"""Fields that never change and what errors call them; the first is upstream's own slip."""


def default(driver: Obj) -> Obj:
    """Fill in what the user left out."""
    return changed(with_absent(driver, {"spec": {}}), "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    return with_empty(with_absent(spec, _SPEC), {"volumeLifecycleModes": ["Persistent"]})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated driver."""
    spec = new["spec"]
    if spec["fsGroupPolicy"] not in GROUP_POLICIES:
        yield (SPEC / "fsGroupPolicy").unsupported(spec["fsGroupPolicy"], GROUP_POLICIES)
    yield from _validate_tokens(spec.get("tokenRequests") or (), SPEC / "tokenRequests")
    for mode in spec["volumeLifecycleModes"]:
        if mode not in MODES:
            yield (SPEC / "volumeLifecycleModes").unsupported(mode, MODES)
    yield from _validate_rest(spec)
    for key, path in _IMMUTABLE if old is not None else ():
        yield from strategy.immutable(spec[key], get(old, f"spec.{key}"), SPEC / path)


def _validate_rest(spec: Obj) -> Iterator[FieldError]:
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < UPDATE_PERIOD_SECONDS_MIN:
        yield (SPEC / "nodeAllocatableUpdatePeriodSeconds").invalid(
            period, f"must be greater than or equal to {UPDATE_PERIOD_SECONDS_MIN} seconds"
        )
    in_secrets = spec.get("serviceAccountTokenInSecrets")
    if in_secrets is not None and not spec.get("tokenRequests"):
        yield (SPEC / "serviceAccountTokenInSecrets").invalid(
            in_secrets, "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        )


def _validate_tokens(requests: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, request in enumerate(requests):
        audience, seconds = request.get("audience", ""), request.get("expirationSeconds")
        if audience in seen:
            yield (field[index] / "audience").duplicate(audience)
        elif seconds is not None:
            yield from _validate_seconds(seconds, field[index] / "expirationSeconds")
        seen.add(audience)


def _validate_seconds(seconds: int, field: Field) -> Iterator[FieldError]:
    if seconds < TOKEN_SECONDS_MIN:
        yield field.invalid(seconds, "may not specify a duration less than 10 minutes")
    if seconds > TOKEN_SECONDS_MAX:
        yield field.invalid(seconds, "may not specify a duration larger than 2^32 seconds")


def warn(driver: Obj, old: Obj | None) -> Iterator[str]:
    """Yield that tokens for the driver may end up in its logs, where it asks for other ones."""
    spec = driver["spec"]
    if old is not None and spec.get("tokenRequests") == old["spec"].get("tokenRequests"):
        return
    if spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None:
        yield (
            "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to "
            "true to prevent possible logging of tokens in volume attributes"
        )


def cells(driver: Obj) -> Sequence[Any]:
    """Return the cells of a driver's row."""
    spec: Obj = driver["spec"]
    audiences = [request.get("audience", "") for request in spec.get("tokenRequests") or ()]
    return (
        driver["metadata"]["name"],
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        ",".join(audiences) if audiences else printing.UNSET,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or printing.NONE,
        Age(get(driver, "metadata.creationTimestamp")),
    )


CSIDRIVERS = Resource(
    group="storage.k8s.io",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    schema="io.k8s.api.storage.v1.CSIDriver",
    columns=(
        NAME,
        Column("AttachRequired", "boolean"),
        Column("PodInfoOnMount", "boolean"),
        Column("StorageCapacity", "boolean"),
        Column("TokenRequests"),
        Column("RequiresRepublish", "boolean"),
        Column("Modes"),
        AGE,
    ),
    cells=cells,
    default=default,
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    warn=warn,
    allow_unconditional_update=False,
    returns_deleted_object=True,
)
