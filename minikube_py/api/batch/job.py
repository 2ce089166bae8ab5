"""Jobs: pods that run to completion.

Unless its author takes that over, the server labels a job's template with the job's uid and name
and selects by the uid, so that no two jobs share pods.
"""

from collections.abc import Sequence
from typing import Any

from minikube_py.api import names, printing, selectors, strategy
from minikube_py.api.apps import workload
from minikube_py.api.batch import job_status, job_validation
from minikube_py.api.batch.job_validation import (
    LEGACY_NAME_LABEL,
    LEGACY_UID_LABEL,
    NAME_LABEL,
    UID_LABEL,
)
from minikube_py.api.core.pod_defaults import default_pod_template
from minikube_py.api.object import Obj, evolve, get, has_condition, is_deleting
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, each, with_absent, with_empty

NO_LIMIT = 2**31 - 1
"""The backoffLimit of a job that limits retries per index instead."""
_COUNTS = ("active", "succeeded", "failed", "completedIndexes")


def default(job: Obj) -> Obj:
    """Fill in what the user left out."""
    job = with_absent(job, {"spec": {}, "status": {}})
    job = changed(job, "spec", _default_spec)
    return changed(job, "status", lambda status: strategy.without_empty(status, *_COUNTS))


def default_template_spec(spec: Obj) -> Obj:
    """Fill in what a job and the template of one in a cron job have in common."""
    spec = changed(with_absent(spec, {"template": {}}), "template", default_pod_template)
    return changed(spec, "podFailurePolicy", _default_failure_policy)


def _default_spec(spec: Obj) -> Obj:
    spec = default_template_spec(spec)
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec = {**spec, "completions": 1}
    per_index = spec.get("backoffLimitPerIndex") is not None
    return with_absent(
        spec,
        {
            "parallelism": 1,
            "backoffLimit": NO_LIMIT if per_index else 6,
            "completionMode": "NonIndexed",
            "suspend": False,
            "manualSelector": False,
            "podReplacementPolicy": (
                "Failed" if spec.get("podFailurePolicy") is not None else "TerminatingOrFailed"
            ),
        },
    )


def _default_failure_policy(policy: Obj) -> Obj:
    policy = with_absent(policy, {"rules": []})
    return changed(policy, "rules", lambda rules: each(rules, _default_rule))


def _default_rule(rule: Obj) -> Obj:
    return changed(rule, "onPodConditions", lambda patterns: each(patterns, _default_pattern))


def _default_pattern(pattern: Obj) -> Obj:
    return with_empty(pattern, {"status": "True"})


def prepare_for_create(job: Obj) -> Obj:
    """Drop the status and make the selector."""
    job = strategy.creating({})(job)
    if not job["spec"].get("manualSelector"):
        job = _with_selector(job)
    return _with_labels(job)


def _with_selector(job: Obj) -> Obj:
    """Label the template and select by the uid; labels that are there already stay."""
    name, uid = job["metadata"].get("name", ""), job["metadata"]["uid"]
    labels = dict(get(job, "spec.template.metadata.labels") or {})
    if NAME_LABEL not in labels:
        labels |= {NAME_LABEL: name, LEGACY_NAME_LABEL: name}
    if UID_LABEL not in labels:
        labels |= {UID_LABEL: uid, LEGACY_UID_LABEL: uid}
    job = evolve(job, "spec.template.metadata.labels", labels)
    matched = get(job, "spec.selector.matchLabels") or {}
    return evolve(job, "spec.selector.matchLabels", {UID_LABEL: uid, **matched})


def _with_labels(job: Obj) -> Obj:
    """Give a job without labels those of its template; bad ones are told of there."""
    labels = get(job, "spec.template.metadata.labels")
    if not labels or job["metadata"].get("labels"):
        return job
    if any(any(names.label_value(value)) for value in labels.values()):
        return job
    return evolve(job, "metadata.labels", labels)


def prepare_for_update(new: Obj, old: Obj) -> Obj:
    """Keep the status and count changes of the spec."""
    return _with_labels(strategy.updating("spec")(new, old))


def prepare_for_status_update(new: Obj, old: Obj) -> Obj:
    """Keep the spec."""
    return _with_labels(strategy.updating_status("spec")(new, old))


_STATES = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)
"""Conditions and what the Status column shows for them, the first that holds."""


def _state(job: Obj) -> str:
    for condition, text in _STATES:
        if has_condition(job, condition) if condition else is_deleting(job):
            return text
    return "Running"


def _completions(job: Obj) -> str:
    spec, succeeded = job["spec"], get(job, "status.succeeded", 0)
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(job: Obj) -> Any:
    start, done = get(job, "status.startTime"), get(job, "status.completionTime")
    if start is None:
        return ""
    return Age(start) if done is None else printing.duration(start, done)


def cells(job: Obj) -> Sequence[Any]:
    """Return the cells of a job's row."""
    return (
        job["metadata"]["name"],
        _state(job),
        _completions(job),
        _duration(job),
        Age(get(job, "metadata.creationTimestamp")),
        *printing.containers(get(job, "spec.template", {})),
        selectors.format_object(get(job, "spec.selector")),
    )


JOBS = Resource(
    group="batch",
    kind="Job",
    plural="jobs",
    categories=("all",),
    schema="io.k8s.api.batch.v1.Job",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=prepare_for_status_update,
            validate=job_status.validate,
        ),
    ),
    columns=(
        NAME,
        Column("Status"),
        Column("Completions"),
        Column("Duration"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=prepare_for_create,
    prepare_for_update=prepare_for_update,
    validate=job_validation.validate,
    warn=workload.warn,
    metadata_checks=("create", "update"),
    default_garbage_collection="Orphan",
    selectable_fields={
        "status.successful": lambda job: str(get(job, "status.succeeded", 0)),
    },
)
