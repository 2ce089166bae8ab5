"""What may stand in an AuthorizationConfiguration, in upstream's words.

Source: apiserver/pkg/apis/apiserver/validation and apiserver/pkg/authorization/cel.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from minikube_py.api import cel, names, times
from minikube_py.api.cel import CelError, types
from minikube_py.api.cel.types import BOOL, STRING, Type
from minikube_py.api.fields import Field, FieldError
from minikube_py.server.authz.modes import MODES

CONDITIONS_MAX = 64
VERSIONS = ("v1", "v1beta1")
POLICIES = ("NoOpinion", "Deny")
PLACES = ("InClusterConfig", "KubeConfigFile")
TIMEOUT_SECONDS_MAX = 30.0

_TEXTS: Final = types.list_of(STRING)
_REQUIREMENTS: Final = types.list_of(
    types.object_of(
        "kubernetes.SelectorRequirement", {"key": STRING, "operator": STRING, "values": _TEXTS}
    )
)


def _selector(kind: str) -> Type:
    fields = {"rawSelector": STRING, "requirements": _REQUIREMENTS}
    return types.object_of(f"kubernetes.{kind}SelectorAttributes", fields)


_TEXT_FIELDS: Final = ("namespace", "verb", "group", "version", "resource", "subresource", "name")
REQUEST: Final = types.object_of(
    "kubernetes.SubjectAccessReviewSpec",
    {
        "resourceAttributes": types.object_of(
            "kubernetes.ResourceAttributes",
            {
                **dict.fromkeys(_TEXT_FIELDS, STRING),
                "fieldSelector": _selector("Field"),
                "labelSelector": _selector("Label"),
            },
        ),
        "nonResourceAttributes": types.object_of(
            "kubernetes.NonResourceAttributes", {"path": STRING, "verb": STRING}
        ),
        "user": STRING,
        "groups": _TEXTS,
        "extra": types.map_of(STRING, _TEXTS),
        "uid": STRING,
    },
)
"""The type of `request` in match conditions: the spec of the review."""


def problems(document: Mapping[str, Any]) -> Iterator[FieldError]:
    """Yield every mistake."""
    root, given = Field("authorizers"), document.get("authorizers") or ()
    if not given:
        yield root.required("at least one authorization mode must be defined")
    kinds: set[str] = set()
    taken: set[str] = set()
    for index, one in enumerate(given):
        path, kind, name = root[index], one.get("type") or "", one.get("name") or ""
        wrong = list(_type_problems(path / "type", kind, kinds))
        if wrong:
            yield from wrong
            continue
        yield from _name_problems(path / "name", name, taken)
        yield from _member_problems(path, kind, one.get("webhook"))
        kinds.add(kind)
        taken.add(name)


def _type_problems(path: Field, kind: str, seen: set[str]) -> Iterator[FieldError]:
    if not kind:
        yield path.required()
    elif kind not in MODES:
        yield path.unsupported(kind, sorted(MODES))
    elif kind in seen and kind != "Webhook":
        yield path.duplicate(kind)


def _name_problems(path: Field, name: str, taken: set[str]) -> Iterator[FieldError]:
    if not name:
        yield path.required()
    elif name in taken:
        yield path.duplicate(name)
    elif texts := list(names.dns1123_subdomain(name)):
        yield path.invalid(name, f"authorizer name is invalid: {', '.join(texts)}")


def _member_problems(path: Field, kind: str, webhook: Any) -> Iterator[FieldError]:
    if kind != "Webhook":
        if webhook is not None:
            yield (path / "webhook").invalid("non-null", "may only be specified when type=Webhook")
    elif webhook is None:
        yield (path / "webhook").required("required when type=Webhook")
    else:
        yield from _webhook_problems(path, webhook)


def _webhook_problems(path: Field, webhook: Mapping[str, Any]) -> Iterator[FieldError]:
    yield from _duration_problems(
        path / "timeout", webhook.get("timeout"), "must be > 0s and <= 30s", TIMEOUT_SECONDS_MAX
    )
    for which in ("authorizedTTL", "unauthorizedTTL"):
        yield from _duration_problems(path / which, webhook.get(which, "30s"), "must be > 0s")
    yield from _choice_problems(path, webhook, "subjectAccessReviewVersion", VERSIONS)
    conditions = webhook.get("matchConditions") or ()
    which = "matchConditionSubjectAccessReviewVersion"
    if webhook.get(which):
        yield from _choice_problems(path, webhook, which, ("v1",))
    elif conditions:
        yield (path / which).required("required if match conditions are specified")
    yield from _choice_problems(path, webhook, "failurePolicy", POLICIES)
    yield from _place_problems(path / "connectionInfo", webhook.get("connectionInfo") or {})
    yield from _condition_problems(path / "matchConditions", conditions)


def _duration_problems(
    path: Field, value: Any, wanted: str, most: float = float("inf")
) -> Iterator[FieldError]:
    try:
        seconds = times.parse_duration(value) if value else 0.0
    except ValueError as error:
        yield path.invalid(value, str(error))
        return
    if seconds == 0:
        yield path.required()
    elif seconds < 0 or seconds > most:
        yield path.invalid(value, wanted)


def _choice_problems(
    path: Field, webhook: Mapping[str, Any], which: str, choices: tuple[str, ...]
) -> Iterator[FieldError]:
    value = webhook.get(which) or ""
    if not value:
        yield (path / which).required()
    elif value not in choices:
        yield (path / which).unsupported(value, choices)


def _place_problems(path: Field, place: Mapping[str, Any]) -> Iterator[FieldError]:
    kind, file, path_of_file = (
        place.get("type"),
        place.get("kubeConfigFile"),
        path / "kubeConfigFile",
    )
    if not kind:
        yield (path / "type").required()
    elif kind not in PLACES:
        yield (path / "type").unsupported(kind, PLACES)
    elif kind == "InClusterConfig":
        yield (path / "type").invalid(
            kind,
            "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and "
            "KUBERNETES_SERVICE_PORT must be defined",
        )
    elif not file:
        yield path_of_file.required()
    elif not Path(file).is_absolute():
        yield path_of_file.invalid(file, "must be an absolute path")
    elif not Path(file).exists():
        text = f"error loading file: stat {file}: no such file or directory"
        yield path_of_file.invalid(file, text)
    elif not Path(file).is_file():
        yield path_of_file.invalid(file, "must be a regular file")


def _condition_problems(path: Field, conditions: Any) -> Iterator[FieldError]:
    if len(conditions) > CONDITIONS_MAX:
        yield path.too_many(len(conditions), CONDITIONS_MAX)
        return
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        field, expression = path[index] / "expression", condition.get("expression") or ""
        if not expression.strip():
            yield field.required()
        elif expression in seen:
            yield field.duplicate(expression)
        elif text := _compile_problem(expression):
            yield field.invalid(expression, text)
        seen.add(expression)


def _compile_problem(expression: str) -> str:
    try:
        program = cel.compile(expression, {"request": REQUEST})
    except CelError as error:
        return f"compilation failed: {error}"
    return "" if program.type == BOOL else f"must evaluate to bool but got {program.type}"
