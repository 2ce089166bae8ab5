"""The largest numbers and the oddest times that validation lets through."""

import pytest

from minikube_py.api.batch import CRONJOBS
from minikube_py.client.actions import Create
from minikube_py.server.controllers import replicaset
from minikube_py.server.controllers.cronjob_schedule import due, seconds_to_next, times_of
from minikube_py.server.controllers.job import next_look, plan_pods
from minikube_py.server.controllers.job_outcome import outcome
from minikube_py.server.controllers.taint_eviction import due_time
from tests.kubelet_model import node
from tests.unit.server.controllers.builders import LONG_AGO, NOW, meta, pod
from tests.unit.server.controllers.builders import replicaset as replicaset_of
from tests.unit.server.controllers.test_job import view

INT32, INT64 = 2**31 - 1, 2**63 - 1
TIMES = ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", LONG_AGO, "9999-12-31T23:59:59Z"]


@pytest.mark.parametrize("deadline", [None, 0, INT32, INT64])
@pytest.mark.parametrize("last", TIMES)
@pytest.mark.parametrize("zone", [None, "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("schedule", ["* * * * *", "0 0 29 2 *", "@every 1h", "0 0 31 2 *"])
def test_any_last_run_and_any_deadline_of_a_cron_job(deadline, last, zone, schedule):
    spec = {"schedule": schedule, "jobTemplate": {}, "startingDeadlineSeconds": deadline}
    if zone is not None:
        spec["timeZone"] = zone
    obj = {"metadata": meta("c"), "spec": spec, "status": {"lastScheduleTime": last}}
    cronjob = CRONJOBS.default(obj)
    found = due(cronjob, times_of(cronjob), NOW)
    assert found.time is None or found.time <= NOW
    wait = seconds_to_next(cronjob, times_of(cronjob), NOW)
    assert wait is None or wait >= 0


@pytest.mark.parametrize("seconds", [0, INT32, INT64, -INT64])
def test_any_time_that_a_taint_is_tolerated(seconds):
    toleration = {"operator": "Exists", "tolerationSeconds": seconds}
    taint = {"key": "a", "effect": "NoExecute"}
    found = due_time(pod("p", spec={"tolerations": [toleration]}), node("n", taints=[taint]), NOW)
    assert found is not None
    assert found >= NOW


def test_the_largest_numbers_of_pods_are_made_in_bursts():
    rs = replicaset_of(replicas=INT32)
    actions = list(replicaset.plan(rs, replicaset.Observed([], NOW)))
    assert len(actions) == 500
    for spec in ({"completions": INT32}, {"completionMode": "Indexed", "completions": INT32}):
        seen = view({"parallelism": INT32, **spec})
        made = [one for one in plan_pods(seen, None) if isinstance(one, Create)]
        assert len(made) == 500


@pytest.mark.parametrize("seconds", [1, INT32, INT64])
def test_any_deadline_of_a_job(seconds):
    seen = view({"activeDeadlineSeconds": seconds}, status={"startTime": LONG_AGO})
    wait = next_look(seen, outcome(seen))
    assert wait is None or wait >= 0
