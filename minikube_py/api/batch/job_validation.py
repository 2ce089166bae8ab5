"""What a job, or the template of one in a cron job, may say."""

from collections.abc import Iterator

from minikube_py.api import names, selectors, strategy
from minikube_py.api.batch.policies import validate_failure_policy, validate_success_policy
from minikube_py.api.core.go_values import go_value
from minikube_py.api.core.pod_validation import validate_pod_template
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get, has_condition, without
from minikube_py.api.prefixed_paths import domain_prefixed_path

SPEC = Field.kept("spec")
INDEXED = "Indexed"
NON_INDEXED = "NonIndexed"
INDEXED_PARALLELISM_MAX = 100_000
FAILED_INDEXES_MAX = 100_000
COMPLETIONS_SOFT_LIMIT = 100_000
HIGH_COMPLETIONS_PARALLELISM_MAX = 10_000
HIGH_COMPLETIONS_FAILED_INDEXES_MAX = 10_000
MANAGED_BY_MAX = 63
NAME_LABEL = "batch.kubernetes.io/job-name"
UID_LABEL = "batch.kubernetes.io/controller-uid"
LEGACY_NAME_LABEL = "job-name"
LEGACY_UID_LABEL = "controller-uid"
MISMATCH = "`selector` does not match template `labels`"
_REPLACEMENT = ("Failed", "TerminatingOrFailed")


def is_indexed(spec: Obj) -> bool:
    """Tell whether each completion of the job has a number."""
    return spec.get("completionMode") == INDEXED


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated job.

    An update is checked as a new job first and then once more, as upstream does: clients see the
    causes twice.
    """
    yield from _validate_generated_selector(new)
    yield from _validate_own_spec(new["spec"])
    yield from _validate_host_names(new)
    if old is not None:
        yield from _validate_own_spec(new["spec"])
        yield from _validate_update(new["spec"], old)


def _validate_own_spec(spec: Obj) -> Iterator[FieldError]:
    yield from validate_spec(spec, SPEC)
    yield from _validate_selector(spec)


def _validate_generated_selector(job: Obj) -> Iterator[FieldError]:
    """Check that the labels which the server adds were not given other values."""
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    labels = get(spec, "template.metadata.labels") or {}
    expected = {
        LEGACY_UID_LABEL: metadata.get("uid", ""),
        LEGACY_NAME_LABEL: metadata.get("name", ""),
        UID_LABEL: metadata.get("uid", ""),
        NAME_LABEL: metadata.get("name", ""),
    }
    field = SPEC / "template" / "metadata" / "labels"
    for key, value in expected.items():
        if key not in labels:
            yield field[key].required(f"must be '{value}'")
        elif labels[key] != value:
            yield field[key].invalid(labels[key], f"must be '{value}'")
    if _compiles(spec["selector"]) and not selectors.from_object(spec["selector"]).matches(
        expected
    ):
        yield (SPEC / "selector").invalid(
            selectors.shown(spec["selector"]), "`selector` not auto-generated"
        )


def _compiles(selector: Obj | None) -> bool:
    try:
        selectors.compiled(selector)
    except ValueError:
        return False
    return True


def _validate_selector(spec: Obj) -> Iterator[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        yield (SPEC / "selector").required()
    yield from selectors.validate(selector, SPEC / "selector")
    labels = get(spec, "template.metadata.labels")
    if _compiles(selector) and not selectors.from_object(selector).matches(labels or {}):
        yield (SPEC / "template" / "metadata" / "labels").invalid(
            dict(sorted(labels.items())) if labels else None, MISMATCH
        )


def _validate_host_names(job: Obj) -> Iterator[FieldError]:
    spec, name = job["spec"], job["metadata"].get("name", "")
    completions = spec.get("completions") or 0
    if not is_indexed(spec) or completions <= 0:
        return
    host = f"{name}-{completions - 1}"
    if any(names.dns1123_label(host)):
        yield (Field("metadata") / "name").invalid(
            name, f"will not able to create pod with invalid DNS label: {host}"
        )


def validate_spec(spec: Obj, field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the spec of a job or of a job template."""
    yield from strategy.non_negative(
        spec,
        field,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    )
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield (field / "backoffLimitPerIndex").required("when maxFailedIndexes is specified")
    yield from _validate_managed_by(spec.get("managedBy"), field / "managedBy")
    yield from _validate_mode(spec, field)
    if spec.get("podFailurePolicy") is not None:
        yield from validate_failure_policy(spec, field / "podFailurePolicy")
    if spec.get("successPolicy") is not None:
        yield from _validate_success_policy(spec, field / "successPolicy")
    yield from _validate_replacement(spec, field / "podReplacementPolicy")
    yield from _validate_template(spec, field / "template")


def _validate_managed_by(value: str | None, field: Field) -> Iterator[FieldError]:
    if value is None:
        return
    yield from domain_prefixed_path(value, field)
    if len(value) > MANAGED_BY_MAX:
        yield field.too_long(MANAGED_BY_MAX)


def _validate_success_policy(spec: Obj, field: Field) -> Iterator[FieldError]:
    if is_indexed(spec):
        yield from validate_success_policy(spec, field)
    else:
        shown = go_value(spec["successPolicy"], "SuccessPolicy")
        yield field.invalid(shown, "requires indexed completion mode")


def _validate_mode(spec: Obj, field: Field) -> Iterator[FieldError]:
    mode = spec.get("completionMode")
    if mode is not None and mode not in {NON_INDEXED, INDEXED}:
        yield (field / "completionMode").unsupported(mode, (NON_INDEXED, INDEXED))
    if mode == INDEXED:
        yield from _validate_indexed(spec, field)
    if mode in {None, NON_INDEXED}:
        for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(key) is not None:
                yield (field / key).invalid(spec[key], "requires indexed completion mode")


def _validate_indexed(spec: Obj, field: Field) -> Iterator[FieldError]:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    failed = spec.get("maxFailedIndexes")
    if completions is None:
        yield (field / "completions").required(f"when completion mode is {INDEXED}")
    if parallelism is not None and parallelism > INDEXED_PARALLELISM_MAX:
        yield (field / "parallelism").invalid(
            parallelism,
            f"must be less than or equal to {INDEXED_PARALLELISM_MAX} when completion mode is "
            f"{INDEXED}",
        )
    if failed is not None and completions is not None and failed > completions:
        yield (field / "maxFailedIndexes").invalid(
            failed, "must be less than or equal to completions"
        )
    if failed is not None and failed > FAILED_INDEXES_MAX:
        yield (field / "maxFailedIndexes").invalid(
            failed, f"must be less than or equal to {FAILED_INDEXES_MAX}"
        )
    if (completions or 0) > COMPLETIONS_SOFT_LIMIT and spec.get("backoffLimitPerIndex") is not None:
        yield from _validate_high_completions(spec, field)


def _validate_high_completions(spec: Obj, field: Field) -> Iterator[FieldError]:
    parallelism, failed = spec.get("parallelism"), spec.get("maxFailedIndexes")
    tail = (
        f"when completions are above {COMPLETIONS_SOFT_LIMIT} and used with backoff limit per index"
    )
    if failed is None:
        yield (field / "maxFailedIndexes").required(
            f"must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}"
        )
    if parallelism is not None and parallelism > HIGH_COMPLETIONS_PARALLELISM_MAX:
        limit = HIGH_COMPLETIONS_PARALLELISM_MAX
        yield (field / "parallelism").invalid(
            parallelism, f"must be less than or equal to {limit} {tail}"
        )
    if failed is not None and failed > HIGH_COMPLETIONS_FAILED_INDEXES_MAX:
        limit = HIGH_COMPLETIONS_FAILED_INDEXES_MAX
        yield (field / "maxFailedIndexes").invalid(
            failed, f"must be less than or equal to {limit} {tail}"
        )


def _validate_replacement(spec: Obj, field: Field) -> Iterator[FieldError]:
    policy = spec.get("podReplacementPolicy")
    if policy is None:
        return
    allowed = _REPLACEMENT[:1] if spec.get("podFailurePolicy") is not None else _REPLACEMENT
    if policy not in allowed:
        yield field.unsupported(policy, allowed)


def _validate_template(spec: Obj, field: Field) -> Iterator[FieldError]:
    yield from validate_pod_template(spec.get("template") or {}, field)
    field = field / "spec" / "restartPolicy"
    policy = get(spec, "template.spec.restartPolicy", "")
    if policy in {"", "Always"}:
        yield field.required('valid values: "OnFailure", "Never"')
    elif policy not in {"OnFailure", "Never"}:
        yield field.unsupported(policy, ("OnFailure", "Never"))
    elif policy != "Never" and spec.get("podFailurePolicy") is not None:
        yield field.invalid(policy, 'only "Never" is supported when podFailurePolicy is specified')


def _validate_update(new: Obj, old_job: Obj) -> Iterator[FieldError]:
    old = old_job["spec"]
    yield from _validate_completions(new, old)
    if new.get("selector") != old.get("selector"):
        yield (SPEC / "selector").immutable(selectors.shown(new.get("selector")))
    yield from _validate_template_update(new, old_job)
    for key in (
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        if new.get(key) != old.get(key):
            yield (SPEC / key).immutable(_shown(key, new.get(key)))


def _shown(key: str, value: Obj | None) -> Obj | None:
    """Return a policy as error texts show it."""
    structure = _POLICIES.get(key)
    return go_value(value, structure) if structure is not None else value


_POLICIES = {"podFailurePolicy": "PodFailurePolicy", "successPolicy": "SuccessPolicy"}


def _validate_completions(new: Obj, old: Obj) -> Iterator[FieldError]:
    completions, before = new.get("completions"), old.get("completions")
    if completions == before:
        return
    if not is_indexed(new):
        yield (SPEC / "completions").immutable(completions)
    elif completions is not None and completions != new.get("parallelism"):
        yield (SPEC / "completions").invalid(
            completions, "can only be modified in tandem with spec.parallelism"
        )


_SCHEDULING = (
    "metadata.annotations",
    "metadata.labels",
    "spec.affinity.nodeAffinity",
    "spec.nodeSelector",
    "spec.tolerations",
    "spec.schedulingGates",
)
"""What of a template may change while a job is suspended and none of its pods runs."""


def _validate_template_update(new: Obj, old_job: Obj) -> Iterator[FieldError]:
    """Let a suspended job change where its pods may run and what they need."""
    template, before = new.get("template") or {}, old_job["spec"].get("template") or {}
    if template == before:
        return
    left, right = template, before
    if _is_at_rest(old_job):
        left, right = _without_scheduling(left), _without_scheduling(right)
        left, right = _without_resources(left), _without_resources(right)
    if left != right:
        yield (SPEC / "template").immutable(go_value(template, "PodTemplateSpec"))


def _is_at_rest(job: Obj) -> bool:
    """Tell whether a job is suspended and no pod of it runs, nor may one be about to."""
    if not job["spec"].get("suspend") or get(job, "status.active"):
        return False
    return get(job, "status.startTime") is None or has_condition(job, "Suspended")


def _without_scheduling(template: Obj) -> Obj:
    for path in _SCHEDULING:
        template = without(template, path)
    return without(template, "spec.affinity") if not get(template, "spec.affinity") else template


def _without_resources(template: Obj) -> Obj:
    pod = dict(template.get("spec") or {})
    for key in ("containers", "initContainers"):
        if pod.get(key):
            pod[key] = [without(container, "resources") for container in pod[key]]
    return {**template, "spec": pod}
