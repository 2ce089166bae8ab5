"""The two policies of a job: which pod failures count, and when enough pods succeeded."""

from collections.abc import Iterator, Sequence

from minikube_py.api import names, strategy
from minikube_py.api.batch import indexes
from minikube_py.api.fields import OMIT, Field, FieldError, quote
from minikube_py.api.object import Obj, get

RULES_MAX = 20
EXIT_CODES_MAX = 255
PATTERNS_MAX = 20
SUCCEEDED_INDEXES_BYTES_MAX = 64 * 1024
ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
OPERATORS = ("In", "NotIn")
STATUSES = ("False", "True", "Unknown")


def _valid_values(values: Sequence[str]) -> str:
    return f"valid values: [{' '.join(map(quote, values))}]"


def _one_of(value: str, allowed: Sequence[str], field: Field) -> Iterator[FieldError]:
    if not value:
        yield field.required(_valid_values(allowed))
    elif value not in allowed:
        yield field.unsupported(value, allowed)


def validate_failure_policy(spec: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with spec.podFailurePolicy."""
    rules = spec["podFailurePolicy"].get("rules") or ()
    if len(rules) > RULES_MAX:
        yield (field / "rules").too_many(len(rules), RULES_MAX)
    pod = get(spec, "template.spec", {})
    containers = {
        container.get("name")
        for key in ("containers", "initContainers")
        for container in pod.get(key) or ()
    }
    for index, rule in enumerate(rules):
        yield from _validate_rule(spec, rule, (field / "rules")[index], containers)


def _validate_rule(
    spec: Obj, rule: Obj, field: Field, containers: set[str]
) -> Iterator[FieldError]:
    action = rule.get("action", "")
    if action == "FailIndex":
        if spec.get("backoffLimitPerIndex") is None:
            yield (field / "action").invalid(action, "requires the backoffLimitPerIndex to be set")
    else:
        yield from _one_of(action, ACTIONS, field / "action")
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if codes is not None:
        yield from _validate_exit_codes(codes, field / "onExitCodes", containers)
    if conditions:
        yield from _validate_patterns(conditions, field / "onPodConditions")
    if codes is not None and conditions:
        yield field.invalid(
            OMIT, "specifying both OnExitCodes and OnPodConditions is not supported"
        )
    if codes is None and not conditions:
        yield field.invalid(OMIT, "specifying one of OnExitCodes and OnPodConditions is required")


def _validate_patterns(patterns: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    if len(patterns) > PATTERNS_MAX:
        yield field.too_many(len(patterns), PATTERNS_MAX)
    for index, pattern in enumerate(patterns):
        kind = pattern.get("type", "")
        for text in names.qualified_name(kind):
            yield (field[index] / "type").invalid(kind, text)
        yield from _one_of(pattern.get("status", ""), STATUSES, field[index] / "status")


def _validate_exit_codes(codes: Obj, field: Field, containers: set[str]) -> Iterator[FieldError]:
    operator = codes.get("operator", "")
    yield from _one_of(operator, OPERATORS, field / "operator")
    container = codes.get("containerName")
    if container is not None and container not in containers:
        yield (field / "containerName").invalid(
            container, "must be one of the container or initContainer names in the pod template"
        )
    yield from _validate_values(codes.get("values") or [], operator, field / "values")


def _validate_values(values: Sequence[int], operator: str, field: Field) -> Iterator[FieldError]:
    if not values:
        yield field.invalid(None, "at least one value is required")
    elif len(values) > EXIT_CODES_MAX:
        yield field.too_many(len(values), EXIT_CODES_MAX)
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            yield field[index].invalid(value, "must not be 0 for the In operator")
        if value in values[:index]:
            yield field[index].duplicate(value)
    if list(values) != sorted(values):
        yield field.invalid(values, "must be ordered")


def validate_success_policy(spec: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with spec.successPolicy of an indexed job."""
    rules = spec["successPolicy"].get("rules") or ()
    if not rules:
        yield (field / "rules").required(
            "at least one rules must be specified when the successPolicy is specified"
        )
    if len(rules) > RULES_MAX:
        yield (field / "rules").too_many(len(rules), RULES_MAX)
    for index, rule in enumerate(rules):
        yield from _validate_success_rule(
            rule, spec.get("completions") or 0, (field / "rules")[index]
        )


def _validate_success_rule(rule: Obj, completions: int, field: Field) -> Iterator[FieldError]:
    wanted, succeeded = rule.get("succeededCount"), rule.get("succeededIndexes")
    if wanted is None and succeeded is None:
        yield field.required("at least one of succeededCount or succeededIndexes must be specified")
    total = None
    if succeeded is not None:
        total = _count(succeeded, completions)
        yield from _validate_succeeded(succeeded, completions, field / "succeededIndexes")
    if wanted is not None:
        yield from _validate_wanted(wanted, completions, total, field / "succeededCount")


def _count(succeeded: str, completions: int) -> int:
    try:
        return indexes.count(indexes.parse(succeeded, completions))
    except ValueError:
        return 0


def _validate_succeeded(succeeded: str, completions: int, field: Field) -> Iterator[FieldError]:
    if len(succeeded) > SUCCEEDED_INDEXES_BYTES_MAX:
        yield field.too_long(SUCCEEDED_INDEXES_BYTES_MAX)
    try:
        indexes.parse(succeeded, completions)
    except ValueError as error:
        yield field.invalid(succeeded, f"error parsing succeededIndexes: {error}")


def _validate_wanted(
    wanted: int, completions: int, total: int | None, field: Field
) -> Iterator[FieldError]:
    if wanted < 0:
        yield field.invalid(wanted, strategy.NOT_NEGATIVE)
    if wanted > completions:
        yield field.invalid(
            wanted,
            f"must be less than or equal to {completions} (the number of specified completions)",
        )
    if total is not None and wanted > total:
        yield field.invalid(
            wanted,
            f"must be less than or equal to {total} (the number of indexes in the specified "
            "succeededIndexes field)",
        )
