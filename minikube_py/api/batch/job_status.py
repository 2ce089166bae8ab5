"""What a job's status may say: the counts only grow, and a finished job stays finished.

Most rules look at what changed only, so that a status which broke one before it was made can
still be updated elsewhere.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minikube_py.api import strategy, times
from minikube_py.api.batch import indexes
from minikube_py.api.batch.job_validation import is_indexed
from minikube_py.api.fields import OMIT, Field, FieldError
from minikube_py.api.object import Obj, has_condition

STATUS = Field.kept("status")
CONDITIONS = STATUS / "conditions"
COMPLETE, FAILED, SUSPENDED = "Complete", "Failed", "Suspended"
FAILURE_TARGET, SUCCESS_CRITERIA_MET = "FailureTarget", "SuccessCriteriaMet"
_NO_TIME = "cannot set completionTime when there is no Complete=True condition"


class Change(NamedTuple):
    """A job before and after an update of its status."""

    new: Obj
    old: Obj

    @property
    def status(self) -> Obj:
        """The new status."""
        return self.new.get("status") or {}

    @property
    def before(self) -> Obj:
        """The old status."""
        return self.old.get("status") or {}

    def differs(self, *keys: str) -> bool:
        """Tell whether one of the status fields changed."""
        return any((self.status.get(key) or 0) != (self.before.get(key) or 0) for key in keys)

    def flips(self, *conditions: str) -> bool:
        """Tell whether one of the conditions became true or ceased to be."""
        return any(has_condition(self.new, c) != has_condition(self.old, c) for c in conditions)

    def is_true(self, condition: str) -> bool:
        """Tell whether the new status has the condition."""
        return has_condition(self.new, condition)

    @property
    def finished(self) -> bool:
        """Tell whether the job is complete or failed now."""
        return self.is_true(COMPLETE) or self.is_true(FAILED)

    @property
    def flips_finished(self) -> bool:
        """Tell whether the job finished, or is no longer finished."""
        return self.finished != (
            has_condition(self.old, COMPLETE) or has_condition(self.old, FAILED)
        )


def validate(new: Obj, old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with an updated status."""
    change = Change(new, old or {})
    yield from strategy.non_negative(
        change.status, STATUS, "active", "succeeded", "failed", "ready", "terminating"
    )
    yield from _validate_uncounted(change.status)
    yield from _validate_conditions(change)
    yield from _validate_times(change)
    yield from _validate_finished(change)
    yield from _validate_indexes(change)
    yield from _validate_pods(change)
    yield from _validate_success(change)
    yield from _validate_progress(change)


def _validate_uncounted(status: Obj) -> Iterator[FieldError]:
    uncounted = status.get("uncountedTerminatedPods") or {}
    seen: set[str] = set()
    for key in ("succeeded", "failed"):
        field = STATUS / "uncountedTerminatedPods" / key
        for index, uid in enumerate(uncounted.get(key) or ()):
            if not uid:
                yield field[index].invalid(uid, "must not be empty")
            elif uid in seen:
                yield field[index].duplicate(uid)
            seen.add(uid)


def _validate_conditions(change: Change) -> Iterator[FieldError]:
    complete = change.is_true(COMPLETE)
    if change.flips(COMPLETE, FAILED) and complete and change.is_true(FAILED):
        yield CONDITIONS.invalid(OMIT, "cannot set Complete=True and Failed=true conditions")
    if change.flips(COMPLETE, FAILURE_TARGET) and complete and change.is_true(FAILURE_TARGET):
        yield CONDITIONS.invalid(OMIT, "cannot set Complete=True and FailureTarget=true conditions")


def _validate_times(change: Change) -> Iterator[FieldError]:
    done, start = change.status.get("completionTime"), change.status.get("startTime")
    field = STATUS / "completionTime"
    complete = change.is_true(COMPLETE)
    if change.flips(COMPLETE) or change.differs("completionTime"):
        if done is not None and not complete:
            yield field.invalid(done, _NO_TIME)
        if done is None and complete:
            yield field.required("completionTime is required for Complete jobs")
    if (
        change.differs("startTime", "completionTime")
        and start is not None
        and done is not None
        and times.parse(done) < times.parse(start)
    ):
        yield field.invalid(done, "completionTime cannot be set before startTime")


def _validate_finished(change: Change) -> Iterator[FieldError]:
    status = change.status
    if (
        change.flips(FAILED, FAILURE_TARGET)
        and change.is_true(FAILED)
        and not change.is_true(FAILURE_TARGET)
    ):
        yield CONDITIONS.invalid(
            OMIT, "cannot set Failed=True condition without the FailureTarget=true condition"
        )
    if (
        change.flips(COMPLETE, SUCCESS_CRITERIA_MET)
        and change.is_true(COMPLETE)
        and not change.is_true(SUCCESS_CRITERIA_MET)
    ):
        yield CONDITIONS.invalid(
            OMIT, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
        )
    if not change.finished:
        return
    active = status.get("active") or 0
    if (change.flips_finished or change.differs("active")) and active > 0:
        yield (STATUS / "active").invalid(active, "active>0 is invalid for finished job")
    if (
        (change.flips_finished or change.differs("startTime"))
        and not change.new["spec"].get("suspend")
        and status.get("startTime") is None
    ):
        yield (STATUS / "startTime").required("startTime is required for finished job")
    yield from _validate_all_counted(change)


def _validate_all_counted(change: Change) -> Iterator[FieldError]:
    uncounted = change.status.get("uncountedTerminatedPods")
    if (
        (change.flips_finished or change.differs("uncountedTerminatedPods"))
        and uncounted
        and any(uncounted.values())
    ):
        shown = {
            "Succeeded": uncounted.get("succeeded"),
            "Failed": uncounted.get("failed"),
        }
        yield (STATUS / "uncountedTerminatedPods").invalid(
            shown, "uncountedTerminatedPods needs to be empty for finished job"
        )


def _validate_indexes(change: Change) -> Iterator[FieldError]:
    spec, status = change.new["spec"], change.status
    completed, failed = status.get("completedIndexes", ""), status.get("failedIndexes")
    completions = spec.get("completions")
    per_index = spec.get("backoffLimitPerIndex") is not None
    if change.differs("completedIndexes") and completions is not None:
        yield from _parses(completed, completions, "completedIndexes")
    tells_failed = change.differs("failedIndexes") and failed is not None
    if tells_failed and per_index and completions is not None:
        yield from _parses(failed or "", completions, "failedIndexes")
    if change.differs("completedIndexes") and completed and not is_indexed(spec):
        yield (STATUS / "completedIndexes").invalid(
            completed, "cannot set non-empty completedIndexes when non-indexed completion mode"
        )
    if tells_failed and not per_index:
        yield (STATUS / "failedIndexes").invalid(
            failed, "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        )
    if change.differs("failedIndexes", "completedIndexes") and failed and completions is not None:
        yield from _validate_overlap(completed, failed, completions)


def _parses(text: str, completions: int, key: str) -> Iterator[FieldError]:
    try:
        indexes.parse(text, completions)
    except ValueError as error:
        yield (STATUS / key).invalid(text, f"error parsing {key}: {error}")


def _validate_overlap(completed: str, failed: str, completions: int) -> Iterator[FieldError]:
    try:
        shared = indexes.overlap(
            indexes.parse(completed, completions), indexes.parse(failed, completions)
        )
    except ValueError:
        return  # told of already
    if shared is not None:
        yield (STATUS / "failedIndexes").invalid(
            failed, f"failedIndexes and completedIndexes overlap at index: {shared}"
        )


def _validate_pods(change: Change) -> Iterator[FieldError]:
    ready, active = change.status.get("ready"), change.status.get("active") or 0
    terminating = change.status.get("terminating") or 0
    if (
        (change.flips_finished or change.differs("terminating"))
        and change.finished
        and terminating > 0
    ):
        yield (STATUS / "terminating").invalid(
            terminating, "terminating>0 is invalid for finished job"
        )
    if change.differs("ready", "active") and ready is not None and ready > active:
        yield (STATUS / "ready").invalid(ready, "cannot set more ready pods than active")


def _validate_success(change: Change) -> Iterator[FieldError]:
    met = change.is_true(SUCCESS_CRITERIA_MET)
    if met and change.is_true(FAILED):
        yield CONDITIONS.invalid(
            OMIT, "cannot set SuccessCriteriaMet=True and Failed=true conditions"
        )
    if met and change.is_true(FAILURE_TARGET):
        yield CONDITIONS.invalid(
            OMIT, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"
        )
    if change.new["spec"].get("successPolicy") is not None and change.is_true(COMPLETE) and not met:
        yield CONDITIONS.invalid(
            OMIT,
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
        )


def _validate_progress(change: Change) -> Iterator[FieldError]:
    """Check what only the old status tells."""
    yield from _validate_terminal(change, (FAILED, COMPLETE, FAILURE_TARGET))
    spec, status, before = change.new["spec"], change.status, change.before
    scales = is_indexed(spec) and spec.get("completions") == spec.get("parallelism")
    for key in ("failed",) if scales else ("failed", "succeeded"):
        count = status.get(key) or 0
        if count < (before.get(key) or 0):
            yield (STATUS / key).invalid(count, f"cannot decrease the {key} counter")
    done = status.get("completionTime")
    if done is not None and before.get("completionTime") not in {None, done}:
        yield (STATUS / "completionTime").invalid(done, "completionTime cannot be mutated")
    resumes = has_condition(change.old, SUSPENDED) and not change.is_true(SUSPENDED)
    if (
        before.get("startTime") is not None
        and change.differs("startTime")
        and not spec.get("suspend")
        and not resumes
    ):
        yield (STATUS / "startTime").invalid(
            status.get("startTime"), "field is immutable for unsuspended job once set"
        )
    met, was_met = (
        change.is_true(SUCCESS_CRITERIA_MET),
        has_condition(change.old, SUCCESS_CRITERIA_MET),
    )
    if was_met and not met:
        yield CONDITIONS.invalid(OMIT, "cannot disable the SuccessCriteriaMet=True condition")
    if has_condition(change.old, COMPLETE) and not was_met and met:
        yield CONDITIONS.invalid(
            OMIT,
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions",
        )


def _validate_terminal(change: Change, conditions: Sequence[str]) -> Iterator[FieldError]:
    for condition in conditions:
        if has_condition(change.old, condition) and not change.is_true(condition):
            yield CONDITIONS.invalid(
                OMIT, f"cannot disable the terminal {condition}=True condition"
            )
