"""What a DELETE does to an object: pure, so a table of cases says it all."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import CONFIGMAPS, PODS, REPLICATIONCONTROLLERS
from minikube_py.api.errors import ConflictError
from minikube_py.server.registry.deletion import (
    FOREGROUND,
    ORPHAN,
    check_preconditions,
    is_done,
    plan,
)
from tests.frozen import freeze

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def configmap(**metadata: Any) -> Any:
    return freeze({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", **metadata}})


def pod(*, node: str = "n", phase: str = "Running", **metadata: Any) -> Any:
    return freeze(
        {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": "p", "generation": 1, **metadata},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30},
            "status": {"phase": phase},
        }
    )


def test_an_object_that_nothing_holds_is_removed_at_once() -> None:
    assert plan(CONFIGMAPS, configmap(), {}, NOW).remove


def test_a_finalizer_makes_it_wait() -> None:
    step = plan(CONFIGMAPS, configmap(finalizers=["example.com/x"]), {}, NOW)
    assert not step.remove
    assert step.obj is not None
    assert step.obj["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    assert step.obj["metadata"]["deletionGracePeriodSeconds"] == 0


@pytest.mark.parametrize(
    ("options", "finalizer"),
    [
        ({"propagationPolicy": "Orphan"}, ORPHAN),
        ({"propagationPolicy": "Foreground"}, FOREGROUND),
        ({"orphanDependents": True}, ORPHAN),
    ],
)
def test_a_propagation_policy_becomes_a_finalizer(options: Any, finalizer: str) -> None:
    step = plan(CONFIGMAPS, configmap(), options, NOW)
    assert step.obj is not None
    assert step.obj["metadata"]["finalizers"] == [finalizer]


def test_background_takes_the_collectors_finalizers_away() -> None:
    held = configmap(finalizers=[ORPHAN])
    assert plan(CONFIGMAPS, held, {"propagationPolicy": "Background"}, NOW).remove


def test_a_kind_that_orphans_by_default_does_so() -> None:
    step = plan(REPLICATIONCONTROLLERS, configmap(), {}, NOW)
    assert step.obj is not None
    assert step.obj["metadata"]["finalizers"] == [ORPHAN]


def test_a_running_pod_gets_its_grace_period() -> None:
    step = plan(PODS, pod(), {}, NOW)
    assert step.obj is not None
    metadata = step.obj["metadata"]
    assert metadata["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    assert metadata["deletionGracePeriodSeconds"] == 30
    assert metadata["generation"] == 2


@pytest.mark.parametrize(
    "obj", [pod(node=""), pod(phase="Succeeded"), pod(phase="Failed")], ids=["unbound", "ok", "bad"]
)
def test_a_pod_that_runs_nowhere_needs_no_grace(obj: Any) -> None:
    assert plan(PODS, obj, {}, NOW).remove


def test_the_kubelets_last_delete_removes_the_pod() -> None:
    marked = plan(PODS, pod(), {}, NOW).obj
    assert marked is not None
    assert plan(PODS, marked, {"gracePeriodSeconds": 0}, NOW).remove


@given(first=st.integers(1, 600), second=st.integers(1, 600))
def test_a_second_delete_never_lengthens_the_grace(first: int, second: int) -> None:
    marked = plan(PODS, pod(), {"gracePeriodSeconds": first}, NOW).obj
    assert marked is not None
    again = plan(PODS, marked, {"gracePeriodSeconds": second}, NOW)
    result = again.obj if again.obj is not None else marked
    assert result["metadata"]["deletionGracePeriodSeconds"] == min(first, second)


def test_a_namespace_waits_for_the_finalizer_in_its_spec() -> None:
    namespace = {
        "kind": "Namespace",
        "metadata": {"name": "n", "deletionTimestamp": "x", "deletionGracePeriodSeconds": 0},
        "spec": {"finalizers": ["kubernetes"]},
    }
    assert not is_done(namespace)
    assert is_done({**namespace, "spec": {}})


def test_another_uid_is_a_conflict_that_names_both() -> None:
    with pytest.raises(ConflictError, match=r"UID in the precondition \(b\).*record \(a\)"):
        check_preconditions(CONFIGMAPS, configmap(uid="a"), {"preconditions": {"uid": "b"}})


def test_a_pod_that_goes_at_once_is_marked_first() -> None:
    step = plan(PODS, pod(), {"gracePeriodSeconds": 0}, NOW)
    assert step.remove
    assert step.obj is not None
    metadata = step.obj["metadata"]
    assert (metadata["deletionGracePeriodSeconds"], metadata["generation"]) == (0, 2)


def test_a_pod_whose_grace_is_cut_to_nothing_is_marked_once_more() -> None:
    going = pod(deletionTimestamp="2026-01-01T00:00:20Z", deletionGracePeriodSeconds=30)
    step = plan(PODS, going, {"gracePeriodSeconds": 0}, NOW)
    assert step.remove
    assert step.obj is not None
    assert step.obj["metadata"]["deletionGracePeriodSeconds"] == 0
    assert step.obj["metadata"]["generation"] == 1


def test_a_pod_that_was_marked_without_grace_is_removed_without_more_ado() -> None:
    going = pod(deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=0)
    step = plan(PODS, going, {"gracePeriodSeconds": 0}, NOW)
    assert (step.remove, step.obj) == (True, None)


@pytest.mark.parametrize("seconds", [2**31 - 1, 2**63 - 1])
def test_any_period_of_grace_has_an_end(seconds: int) -> None:
    marked = plan(PODS, pod(), {"gracePeriodSeconds": seconds}, NOW).obj
    assert marked is not None
    assert marked["metadata"]["deletionGracePeriodSeconds"] == seconds
    again = plan(PODS, freeze(marked), {"gracePeriodSeconds": 5}, NOW).obj
    assert again is not None
    assert again["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:05Z"
