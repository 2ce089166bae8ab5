"""Cron jobs: a Job at every time of a schedule."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import cron, names, printing, selectors, strategy
from minikube_py.api.apps import workload
from minikube_py.api.batch.job import default_template_spec
from minikube_py.api.batch.job_validation import SPEC, validate_spec
from minikube_py.api.core.pod_warnings import warn_pod_template
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent, with_empty

NAME_MAX = 52
"""A job's name is that of its cron job and 11 characters more, 63 at most."""
ALLOW = "Allow"
_POLICIES = (ALLOW, "Forbid", "Replace")
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}", re.ASCII)


def default(cronjob: Obj) -> Obj:
    """Fill in what the user left out."""
    cronjob = with_absent(cronjob, {"spec": {}, "status": {}})
    return changed(cronjob, "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    spec = with_empty(spec, {"concurrencyPolicy": ALLOW})
    spec = with_absent(
        spec,
        {
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {},
        },
    )
    return changed(spec, "jobTemplate", _default_job_template)


def _default_job_template(template: Obj) -> Obj:
    template = with_absent(template, {"metadata": {}, "spec": {}})
    return changed(template, "spec", default_template_spec)


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated cron job."""
    spec, before = new["spec"], (old or {}).get("spec")
    yield from _validate_schedule(spec, before, SPEC / "schedule")
    yield from strategy.non_negative(spec, SPEC, "startingDeadlineSeconds")
    if before is None or before.get("timeZone") != spec.get("timeZone"):
        yield from _validate_zone(spec.get("timeZone"), SPEC / "timeZone")
    policy = spec.get("concurrencyPolicy")
    if policy not in _POLICIES:
        yield (SPEC / "concurrencyPolicy").unsupported(policy, _POLICIES)
    yield from _validate_job_template(spec["jobTemplate"]["spec"], SPEC / "jobTemplate" / "spec")
    yield from strategy.non_negative(
        spec, SPEC, "successfulJobsHistoryLimit", "failedJobsHistoryLimit"
    )
    name = new["metadata"].get("name", "")
    if old is None and len(name) > NAME_MAX:
        yield (Field("metadata") / "name").invalid(
            name, f"must be no more than {NAME_MAX} characters"
        )


def _validate_schedule(spec: Obj, before: Obj | None, field: Field) -> Iterator[FieldError]:
    schedule = spec.get("schedule", "")
    if not schedule:
        yield field.required()
        return
    try:
        cron.parse(schedule)
    except ValueError as error:
        yield field.invalid(schedule, str(error))
    if "TZ" not in schedule:
        return
    # A zone in the schedule is let stand where it stood before the field timeZone came.
    if before is None or "TZ" not in before.get("schedule", ""):
        yield field.invalid(
            schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        )
    elif spec.get("timeZone") is not None:
        yield field.invalid(
            schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        )


def _validate_zone(zone: str | None, field: Field) -> Iterator[FieldError]:
    if zone is None:
        return
    if not zone:
        yield field.invalid(zone, "timeZone must be nil or non-empty string")
        return
    parts = zone.split("/")
    if any(p in {".", ".."} or p.startswith("-") or not _ZONE_PART.fullmatch(p) for p in parts):
        yield field.invalid(zone, f"unknown time zone {zone}")
        return
    if zone.lower() == "local":
        yield field.invalid(
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        )
    if zone != "Local" and not cron.is_zone(zone):
        yield field.invalid(zone, f"unknown time zone {zone}")


def _validate_job_template(spec: Obj, field: Field) -> Iterator[FieldError]:
    yield from validate_spec(spec, field)
    if spec.get("selector") is not None:
        yield (field / "selector").invalid(spec["selector"], "`selector` will be auto-generated")
    if spec.get("manualSelector"):
        yield (field / "manualSelector").unsupported(value=True, supported=("nil", "false"))


def warn(cronjob: Obj, old: Obj | None) -> Iterator[str]:
    """Yield what is odd about a new cron job, or about a changed template or schedule."""
    spec = cronjob["spec"]
    if old is None:
        yield from workload.warn_name(cronjob["metadata"].get("name", ""))
    if old is None or old["spec"] != spec:
        template = get(spec, "jobTemplate.spec.template", {})
        field = SPEC / "jobTemplate" / "spec" / "template"
        yield from warn_pod_template(template, field)
    if "TZ" in spec.get("schedule", ""):
        yield (
            f"CRON_TZ or TZ used in {SPEC / 'schedule'} is not officially supported, see "
            "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        )


def cells(cronjob: Obj) -> Sequence[Any]:
    """Return the cells of a cron job's row."""
    spec: Obj = cronjob["spec"]
    last = get(cronjob, "status.lastScheduleTime")
    suspend = spec.get("suspend")
    return (
        cronjob["metadata"]["name"],
        spec.get("schedule", ""),
        printing.or_none(spec.get("timeZone")),
        printing.UNSET if suspend is None else str(suspend),
        len(get(cronjob, "status.active") or ()),
        printing.NONE if last is None else Age(last),
        Age(get(cronjob, "metadata.creationTimestamp")),
        *printing.containers(get(spec, "jobTemplate.spec.template", {})),
        selectors.format_object(get(spec, "jobTemplate.spec.selector")),
    )


CRONJOBS = Resource(
    group="batch",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    schema="io.k8s.api.batch.v1.CronJob",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec"),
            validate=lambda _new, _old: (),
        ),
    ),
    columns=(
        NAME,
        Column("Schedule"),
        Column("Timezone"),
        Column("Suspend", "boolean"),
        Column("Active", "integer"),
        Column("Last Schedule"),
        AGE,
        Column("Containers", priority=1),
        Column("Images", priority=1),
        Column("Selector", priority=1),
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
    warn=warn,
    validate_name=names.dns1123_subdomain,
)
