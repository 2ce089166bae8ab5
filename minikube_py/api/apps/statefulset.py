"""Stateful sets: numbered pods with storage of their own."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import intstr, names, strategy
from minikube_py.api.apps import workload
from minikube_py.api.apps.workload import SPEC, STATUS
from minikube_py.api.core.claim_defaults import default_claim_template
from minikube_py.api.core.pod_validation import validate_pod_template
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, evolve, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, each, with_absent, with_empty

ROLLING = "RollingUpdate"
ON_DELETE = "OnDelete"
ORDERED_READY = "OrderedReady"
PARALLEL = "Parallel"
EMPTY_STATUS = {"replicas": 0, "availableReplicas": 0}
_COUNTS = (
    "observedGeneration",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
)
_RETENTION = ("Retain", "Delete")
_CLAIM = {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
MUTABLE = frozenset(
    {
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    }
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


def default(sts: Obj) -> Obj:
    """Fill in what the user left out."""
    sts = with_absent(sts, {"spec": {}, "status": EMPTY_STATUS})
    sts = changed(sts, "spec", _default_spec)
    return changed(sts, "status", _default_status)


def _default_spec(spec: Obj) -> Obj:
    spec = with_empty(spec, {"podManagementPolicy": ORDERED_READY})
    spec = with_absent(
        spec,
        {
            "updateStrategy": {},
            "persistentVolumeClaimRetentionPolicy": {},
            "replicas": 1,
            "revisionHistoryLimit": 10,
        },
    )
    spec = changed(spec, "updateStrategy", _default_strategy)
    spec = changed(spec, "persistentVolumeClaimRetentionPolicy", _default_retention)
    spec = changed(spec, "volumeClaimTemplates", lambda claims: each(claims, _default_claim))
    return workload.default_template(spec)


def _default_strategy(update: Obj) -> Obj:
    update = with_empty(update, {"type": ROLLING})
    if update["type"] != ROLLING:
        return update
    update = with_absent(update, {"rollingUpdate": {}})
    return changed(update, "rollingUpdate", lambda rolling: with_absent(rolling, {"partition": 0}))


def _default_retention(policy: Obj) -> Obj:
    return with_empty(policy, {"whenDeleted": "Retain", "whenScaled": "Retain"})


def _default_claim(claim: Obj) -> Obj:
    claim = with_absent(default_claim_template(claim), {**_CLAIM, "status": {}})
    return changed(claim, "status", lambda status: with_empty(status, {"phase": "Pending"}))


def _default_status(status: Obj) -> Obj:
    return with_absent(strategy.without_empty(status, *_COUNTS), EMPTY_STATUS)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated stateful set."""
    spec = new["spec"]
    policy = spec["podManagementPolicy"]
    if policy not in {ORDERED_READY, PARALLEL}:
        yield (SPEC / "podManagementPolicy").invalid(
            policy, f"must be '{ORDERED_READY}' or '{PARALLEL}'"
        )
    yield from _validate_strategy(spec["updateStrategy"], SPEC / "updateStrategy")
    yield from _validate_retention(spec["persistentVolumeClaimRetentionPolicy"])
    yield from strategy.non_negative(
        spec, SPEC, "replicas", "minReadySeconds", "revisionHistoryLimit"
    )
    yield from strategy.non_negative(spec.get("ordinals") or {}, SPEC / "ordinals", "start")
    if old is None and spec.get("serviceName"):
        yield from _validate_service_name(spec["serviceName"], SPEC / "serviceName")
    yield from workload.validate_selector(spec.get("selector"), "statefulset")
    yield from workload.validate_template_labels(spec)
    if workload.compiles(spec.get("selector")) and not _was_invalid(old):
        yield from validate_pod_template(_with_claims(spec), SPEC / "template")
    yield from workload.validate_runs_always(spec.get("template") or {}, "StatefulSet")
    if old is not None:
        yield from _validate_update(spec, old["spec"])


def _validate_update(new: Obj, old: Obj) -> Iterator[FieldError]:
    fixed = {key for key in {*new, *old} if key not in MUTABLE}
    if any((new.get(key) or None) != (old.get(key) or None) for key in fixed):
        yield SPEC.forbidden(_FORBIDDEN)


def _validate_service_name(name: str, field: Field) -> Iterator[FieldError]:
    yield from (field.invalid(name, text) for text in names.dns1123_label(name))


def _was_invalid(old: Obj | None) -> bool:
    """Tell whether the stored template is from before templates were checked; it may stay."""
    if old is None or not workload.compiles(old["spec"].get("selector")):
        return False
    return any(validate_pod_template(_with_claims(old["spec"]), SPEC / "template"))


def _with_claims(spec: Obj) -> Obj:
    """Return the template with the volumes that the claims will become."""
    template: Obj = spec.get("template") or {}
    volumes: Sequence[Obj] = get(template, "spec.volumes") or ()
    known = {volume.get("name") for volume in volumes}
    claims = [get(claim, "metadata.name") for claim in spec.get("volumeClaimTemplates") or ()]
    added = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}}
        for name in claims
        if name and name not in known
    ]
    return evolve(template, "spec.volumes", [*volumes, *added]) if added else template


def _validate_strategy(update: Obj, field: Field) -> Iterator[FieldError]:
    rolling = update.get("rollingUpdate")
    if update["type"] == ON_DELETE:
        if rolling is not None:
            yield (field / "rollingUpdate").invalid(
                _shown_rolling(rolling), f"only allowed for updateStrategy '{ROLLING}'"
            )
    elif update["type"] == ROLLING:
        yield from _validate_rolling(rolling or {}, field / "rollingUpdate")
    else:
        shown = {
            "Type": update["type"],
            "RollingUpdate": None if rolling is None else _shown_rolling(rolling),
        }
        yield field.invalid(shown, f"must be '{ROLLING}' or '{ON_DELETE}'")


def _shown_rolling(rolling: Obj) -> Obj:
    return {
        "Partition": rolling.get("partition", 0),
        "MaxUnavailable": rolling.get("maxUnavailable"),
    }


def _validate_rolling(rolling: Obj, field: Field) -> Iterator[FieldError]:
    yield from strategy.non_negative(rolling, field, "partition")
    unavailable = rolling.get("maxUnavailable")
    if unavailable is None:
        return
    field = field / "maxUnavailable"
    yield from intstr.validate_positive(unavailable, field)
    if workload.int_or_percent(unavailable) == 0:
        yield field.invalid(unavailable, "cannot be 0")
    yield from intstr.validate_percent_max(unavailable, field)


def _validate_retention(policy: Obj) -> Iterator[FieldError]:
    field = SPEC / "persistentVolumeClaimRetentionPolicy"
    for key in ("whenDeleted", "whenScaled"):
        if policy[key] not in _RETENTION:
            yield (field / key).unsupported(policy[key], _RETENTION)


def validate_status(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    status: Obj = new.get("status") or {}
    counted = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    yield from strategy.non_negative(
        status, STATUS, "replicas", *counted, "observedGeneration", "collisionCount"
    )
    text = "cannot be greater than status.replicas"
    yield from workload.validate_not_above(status, "replicas", counted, text)
    yield from workload.validate_not_above(
        status,
        "readyReplicas",
        ("availableReplicas",),
        "cannot be greater than status.readyReplicas",
    )
    yield from workload.validate_collision_count(new, old or {})


def cells(sts: Obj) -> Sequence[Any]:
    """Return the cells of a stateful set's row."""
    spec: Obj = sts["spec"]
    status: Obj = sts.get("status") or {}
    return (
        sts["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        Age(get(sts, "metadata.creationTimestamp")),
        *workload.template_cells(spec),
    )


STATEFULSETS = Resource(
    group="apps",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    schema="io.k8s.api.apps.v1.StatefulSet",
    subresources=(
        Subresource(name="scale", kind="Scale", group="autoscaling", version="v1"),
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec"),
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Ready"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(EMPTY_STATUS),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
    warn=workload.warn,
    validate_name=names.dns1123_label,
)
