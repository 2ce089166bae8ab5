"""Flow schemas: which requests belong to which priority level."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import names, printing, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.flowcontrol import rules
from minikube_py.api.object import Obj, condition_of, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent, with_empty

SPEC = Field("spec")
PRECEDENCE_MAX = 10_000
DEFAULT_PRECEDENCE = 1000
METHODS = frozenset({"ByNamespace", "ByUser"})
DANGLING = "Dangling"
EXEMPT = "exempt"


def default(schema: Obj) -> Obj:
    """Fill in what the user left out."""
    schema = with_absent(schema, {"spec": {}, "status": {}})
    return changed(schema, "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    spec = with_empty(spec, {"matchingPrecedence": DEFAULT_PRECEDENCE})
    spec = with_absent(spec, {"priorityLevelConfiguration": {}})
    return changed(
        spec, "priorityLevelConfiguration", lambda level: with_absent(level, {"name": ""})
    )


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated schema."""
    spec, name = new["spec"], new["metadata"].get("name", "")
    yield from _validate_precedence(spec["matchingPrecedence"], name, SPEC / "matchingPrecedence")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in METHODS:
        shown = {"Type": method.get("type", "")}
        yield (SPEC / "distinguisherMethod" / "type").unsupported(shown, METHODS)
    level = spec["priorityLevelConfiguration"]["name"]
    field = SPEC / "priorityLevelConfiguration" / "name"
    if not level:
        yield field.required("must reference a priority level")
    else:
        yield from (field.invalid(level, text) for text in names.dns1123_subdomain(level))
    for index, rule in enumerate(spec.get("rules") or ()):
        yield from rules.validate_rule(rule, (SPEC / "rules")[index])


def _validate_precedence(value: int, name: str, field: Field) -> Iterator[FieldError]:
    if value <= 0:
        yield field.invalid(value, "must be a positive value")
    if value > PRECEDENCE_MAX:
        yield field.invalid(value, f"must not be greater than {PRECEDENCE_MAX}")
    if (value == 1) != (name == EXEMPT):
        yield field.invalid(value, "only the schema named 'exempt' may have matchingPrecedence 1")


def validate_status(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    seen: set[str] = set()
    for index, condition in enumerate(get(new, "status.conditions") or ()):
        kind = condition.get("type", "")
        field = (Field("status") / "conditions")[index] / "type"
        if not kind:
            yield field.required("must not be empty")
        elif kind in seen:
            yield field.duplicate(kind)
        seen.add(kind)


def cells(schema: Obj) -> Sequence[Any]:
    """Return the cells of a schema's row."""
    spec: Obj = schema["spec"]
    dangling = condition_of(schema, DANGLING)
    return (
        schema["metadata"]["name"],
        get(spec, "priorityLevelConfiguration.name", ""),
        spec.get("matchingPrecedence", 0),
        get(spec, "distinguisherMethod.type", printing.NONE),
        Age(get(schema, "metadata.creationTimestamp")),
        "?" if dangling is None else dangling.get("status", ""),
    )


FLOWSCHEMAS = Resource(
    group="flowcontrol.apiserver.k8s.io",
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    schema="io.k8s.api.flowcontrol.v1.FlowSchema",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=strategy.RESET_METADATA),
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("PriorityLevel"),
        Column("MatchingPrecedence"),
        Column("DistinguisherMethod"),
        AGE,
        Column("MissingPL"),
    ),
    cells=cells,
    row_order=lambda schema: (
        get(schema, "spec.matchingPrecedence", 0),
        schema["metadata"]["name"],
    ),
    default=default,
    prepare_for_create=strategy.creating({}),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
)
