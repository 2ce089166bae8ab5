"""Storage classes: how volumes are provisioned."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, strategy
from minikube_py.api.core.pod_warnings import label_warning
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.storage.parameters import validate_parameters

DEFAULT_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
BETA_DEFAULT_ANNOTATION = "storageclass.beta.kubernetes.io/is-default-class"
RECLAIM_POLICIES = ("Delete", "Retain")
BINDING_MODES = frozenset({"Immediate", "WaitForFirstConsumer"})
_IMMUTABLE = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")


def is_default(sc: Obj) -> bool:
    """Tell whether claims that name no class get this one."""
    annotations = get(sc, "metadata.annotations") or {}
    return "true" in {
        annotations.get(DEFAULT_ANNOTATION),
        annotations.get(BETA_DEFAULT_ANNOTATION),
    }


def default(sc: Obj) -> Obj:
    """Fill in what the user left out."""
    sc = strategy.with_absent(sc, {"provisioner": "", "reclaimPolicy": "Delete"})
    return strategy.with_absent(sc, {"volumeBindingMode": "Immediate"})


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated class; most of it never changes."""
    yield from _validate_provisioner(new["provisioner"])
    yield from validate_parameters(new.get("parameters") or {}, Field("parameters"))
    if new["reclaimPolicy"] not in RECLAIM_POLICIES:
        yield Field("reclaimPolicy").unsupported(new["reclaimPolicy"], set(RECLAIM_POLICIES))
    if new["volumeBindingMode"] not in BINDING_MODES:
        yield Field("volumeBindingMode").unsupported(new["volumeBindingMode"], BINDING_MODES)
    yield from _validate_topologies(new.get("allowedTopologies") or (), Field("allowedTopologies"))
    for key in _IMMUTABLE if old is not None else ():
        yield from strategy.immutable(new.get(key), get(old, key), Field(key))


def warn(sc: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield which labels of nodes have newer names."""
    for index, term in enumerate(sc.get("allowedTopologies") or ()):
        field = Field("allowedTopologies")[index] / "matchLabelExpressions"
        for place, requirement in enumerate(term.get("matchLabelExpressions") or ()):
            if message := label_warning(requirement.get("key", "")):
                yield f"{field[place] / 'key'}: {message}"


def _validate_provisioner(provisioner: str) -> Iterator[FieldError]:
    field = Field("provisioner")
    if not provisioner:
        yield field.required(provisioner)
        return
    for text in names.qualified_name(provisioner.lower()):
        yield field.invalid(provisioner, text)


def _validate_topologies(terms: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report what is wrong with terms; upstream begins with as many empty ones to differ from."""
    seen: list[dict[str, set[str]]] = [{} for _ in terms]
    for index, term in enumerate(terms):
        yield from _validate_term(term, field[index])
        wanted = {
            requirement.get("key", ""): set(requirement.get("values") or ())
            for requirement in term.get("matchLabelExpressions") or ()
        }
        for _ in range(seen.count(wanted)):
            yield (field[index] / "matchLabelExpressions").duplicate("")
        seen.append(wanted)


def _validate_term(term: Obj, field: Field) -> Iterator[FieldError]:
    seen: set[str] = set()
    field = field / "matchLabelExpressions"
    for index, requirement in enumerate(term.get("matchLabelExpressions") or ()):
        key, values = requirement.get("key", ""), requirement.get("values") or ()
        if not values:
            yield (field[index] / "values").required()
        for place, value in enumerate(values):
            if value in values[:place]:
                yield (field[index] / "values")[place].duplicate(value)
        yield from ((field[index] / "key").invalid(key, t) for t in names.qualified_name(key))
        if key in seen:
            yield (field[index] / "key").duplicate(key)
        seen.add(key)


def cells(sc: Obj) -> Sequence[Any]:
    """Return the cells of a class' row."""
    name = sc["metadata"]["name"]
    return (
        f"{name} (default)" if is_default(sc) else name,
        sc["provisioner"],
        sc.get("reclaimPolicy", "Delete"),
        sc.get("volumeBindingMode", "Immediate"),
        bool(sc.get("allowVolumeExpansion")),
        Age(get(sc, "metadata.creationTimestamp")),
    )


STORAGECLASSES = Resource(
    group="storage.k8s.io",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    short_names=("sc",),
    schema="io.k8s.api.storage.v1.StorageClass",
    columns=(
        NAME,
        Column("Provisioner"),
        Column("ReclaimPolicy"),
        Column("VolumeBindingMode"),
        Column("AllowVolumeExpansion"),
        AGE,
    ),
    cells=cells,
    default=default,
    validate=validate,
    warn=warn,
    returns_deleted_object=True,
)
