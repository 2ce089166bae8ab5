"""What the workloads of this group share: a selector, and a template of pods."""

from collections.abc import Iterator, Mapping

from minikube_py.api import intstr, names, printing, selectors
from minikube_py.api.core.pod_defaults import default_pod_template
from minikube_py.api.core.pod_validation import validate_pod_template
from minikube_py.api.core.pod_warnings import warn_pod_template
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.strategy import changed, with_absent

SPEC = Field.kept("spec")
STATUS = Field.kept("status")
MISMATCH = "`selector` does not match template `labels`"


def default_template(spec: Obj) -> Obj:
    """Fill in what the user left out of the pod template of a spec."""
    return changed(with_absent(spec, {"template": {}}), "template", default_pod_template)


def validate_selector(selector: Obj | None, noun: str) -> Iterator[FieldError]:
    """Report what is wrong with a selector that must be given and select something."""
    field = SPEC / "selector"
    if selector is None:
        yield field.required()
        return
    yield from selectors.validate(selector, field)
    if not (selector.get("matchLabels") or selector.get("matchExpressions")):
        yield field.invalid({}, f"empty selector is invalid for {noun}")


def validate_template_labels(
    spec: Obj, *, detail: str = "", even_empty: bool = False
) -> Iterator[FieldError]:
    """Report a template whose pods the selector would not find.

    `detail` is the text for a selector that cannot be compiled; `even_empty` applies an empty
    selector too.
    """
    try:
        selector = selectors.compiled(spec.get("selector"))
    except ValueError:
        yield (SPEC / "selector").invalid(selectors.shown(spec.get("selector")), detail)
        return
    labels = get(spec, "template.metadata.labels")
    if (selector or even_empty) and not selector.matches(labels or {}):
        yield (SPEC / "template" / "metadata" / "labels").invalid(shown_labels(labels), MISMATCH)


def shown_labels(labels: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return labels in the order in which error texts show them."""
    return dict(sorted(labels.items())) if labels else None


def validate_selector_kept(new: Obj, old: Obj) -> Iterator[FieldError]:
    """Report a selector that changed."""
    selector = new["spec"].get("selector")
    if selector != old["spec"].get("selector"):
        yield (SPEC / "selector").immutable(selectors.shown(selector))


def compiles(selector: Obj | None) -> bool:
    """Tell whether a selector document can be used."""
    try:
        selectors.compiled(selector)
    except ValueError:
        return False
    return True


def validate_runs_always(template: Obj, kind: str) -> Iterator[FieldError]:
    """Report a template whose pods are meant to end."""
    field = SPEC / "template" / "spec"
    policy = get(template, "spec.restartPolicy", "")
    if policy != "Always":
        yield (field / "restartPolicy").unsupported(policy, ("Always",))
    if get(template, "spec.activeDeadlineSeconds") is not None:
        yield (field / "activeDeadlineSeconds").forbidden(
            f"activeDeadlineSeconds in {kind} is not Supported"
        )


def validate_template(spec: Obj, kind: str) -> Iterator[FieldError]:
    """Report what is wrong with the pod template of a kind whose pods run for ever."""
    template = spec.get("template") or {}
    yield from validate_pod_template(template, SPEC / "template")
    yield from validate_runs_always(template, kind)


def warn(obj: Obj, old: Obj | None) -> Iterator[str]:
    """Yield what is odd about the template, and on create about the name of an object."""
    if old is None:
        yield from warn_name(obj["metadata"].get("name", ""))
    template = get(obj, "spec.template")
    if template is not None and (old is None or template != get(old, "spec.template")):
        yield from warn_pod_template(template, SPEC / "template")


def warn_name(name: str) -> Iterator[str]:
    """Yield that a name makes strange names of pods."""
    messages = names.dns1123_label(name)
    if messages:
        yield (
            "metadata.name: this is used in Pod names and hostnames, which can result in "
            f"surprising behavior; a DNS label is recommended: [{' '.join(messages)}]"
        )


def int_or_percent(value: intstr.IntOrString) -> int:
    """Return the number before a percent sign, or the integer."""
    percent = intstr.percent_of(value)
    return percent if percent is not None else intstr.number_of(value)


def validate_not_above(
    status: Obj, limit_key: str, keys: tuple[str, ...], text: str
) -> Iterator[FieldError]:
    """Report counts of a status that are greater than another one."""
    limit = status.get(limit_key) or 0
    for key in keys:
        count = status.get(key) or 0
        if count > limit:
            yield (STATUS / key).invalid(count, text)


def validate_collision_count(new: Obj, old: Obj) -> Iterator[FieldError]:
    """Report a collision count that falls: names would repeat."""
    before, after = get(old, "status.collisionCount"), get(new, "status.collisionCount")
    if before is not None and (after or 0) < before:
        yield (STATUS / "collisionCount").invalid(after or 0, "cannot be decremented")


def template_cells(spec: Obj) -> tuple[str, str]:
    """Return the cells that show names and images of the containers."""
    return printing.containers(spec.get("template") or {})
