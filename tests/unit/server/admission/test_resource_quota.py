"""Quotas: what they refuse in upstream's words, and that nothing is counted twice or lost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.api.core import CONFIGMAPS, EVENTS, PERSISTENTVOLUMECLAIMS, PODS, SERVICES
from minikube_py.api.core.quota_kinds import evaluator_of
from minikube_py.api.errors import ConflictError, ForbiddenError, ServiceUnavailableError
from minikube_py.api.object import get
from minikube_py.lib.errors import StartError
from minikube_py.server.admission import resource_quota
from minikube_py.server.admission.quota_check import LimitedResource
from minikube_py.server.admission.resource_quota import ResourceQuota
from minikube_py.server.admission.resource_quota_configuration import limited_of
from tests.unit.server.admission.acting import pod, refusal, run, write

Listing = Callable[..., Any]


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    zeros = dict.fromkeys(hard, "0")
    name = spec.pop("name", "q")
    return {
        "metadata": {"name": name, "namespace": "a"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": {**zeros, **(used or {})}},
    }


class QuotaStore:
    """Quotas as the server keeps them: optimistic locking, and others who write too."""

    def __init__(self, listing: Listing, *quotas: Any) -> None:
        self.lister = listing(*quotas)
        self.writes = 0
        self.rivals: list[Callable[[], None]] = []
        """Called before the next writes, one each: somebody was quicker."""
        self.gate: asyncio.Event | None = None

    async def update(self, resource: Any, obj: Any, *, subresource: str = "") -> Any:
        del resource
        assert subresource == "status"
        if self.gate is not None:
            await self.gate.wait()
        else:
            await asyncio.sleep(0)
        if self.rivals:
            self.rivals.pop(0)()
        current = next(i for i in self.lister.items("a") if i.key.name == obj["metadata"]["name"])
        if str(current.revision) != obj["metadata"]["resourceVersion"]:
            raise ConflictError("the object has been modified")
        self.writes += 1
        self.lister.put(obj)
        return obj

    def used(self, name: str = "q") -> dict[str, str]:
        found = next(i.obj for i in self.lister.items("a") if i.key.name == name)
        return dict(get(found, "status.used"))


@pytest.fixture
def acting(listing: Listing, clock: Any) -> Callable[..., tuple[ResourceQuota, QuotaStore]]:
    def make(*quotas: Any, limited: Any = ()) -> tuple[ResourceQuota, QuotaStore]:
        store = QuotaStore(listing, *quotas)
        client: Any = store
        return ResourceQuota(store.lister, lambda: client, clock, limited), store

    return make


def asking(cpu: str = "500m", memory: str = "100Mi", name: str = "p") -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}, "limits": {"memory": memory}}
    made = pod(containers=[{"name": "c", "image": "i", "resources": resources}])
    made["metadata"]["name"] = name
    return made


COMPUTE = {"pods": "2", "requests.cpu": "1", "limits.memory": "1Gi"}


async def test_what_a_pod_uses_is_added_before_it_is_let_in(acting: Any) -> None:
    plugin, store = acting(quota(COMPUTE))
    await run(plugin, write(PODS, asking()))
    assert store.used() == {"pods": "1", "requests.cpu": "500m", "limits.memory": "100Mi"}


async def test_what_does_not_fit_is_refused_and_not_counted(acting: Any) -> None:
    used = {"pods": "2", "requests.cpu": "700m", "limits.memory": "1Gi"}
    plugin, store = acting(quota(COMPUTE, used))
    assert await refusal(plugin, write(PODS, asking())) == (
        'pods "p" is forbidden: exceeded quota: q, '
        "requested: limits.memory=100Mi,pods=1,requests.cpu=500m, "
        "used: limits.memory=1Gi,pods=2,requests.cpu=700m, "
        "limited: limits.memory=1Gi,pods=2,requests.cpu=1"
    )
    assert (store.used(), store.writes) == (used, 0)


async def test_only_what_is_exceeded_is_named(acting: Any) -> None:
    plugin, _ = acting(quota(COMPUTE))
    text = await refusal(plugin, write(PODS, asking(cpu="2")))
    assert text.endswith("requested: requests.cpu=2, used: requests.cpu=0, limited: requests.cpu=1")


async def test_a_pod_must_say_what_is_counted(acting: Any) -> None:
    plugin, _ = acting(quota(COMPUTE))
    text = await refusal(plugin, write(PODS, pod()))
    assert text == (
        'pods "p" is forbidden: failed quota: q: must specify limits.memory for: c; '
        "requests.cpu for: c"
    )


async def test_a_quota_that_was_not_counted_yet_lets_nothing_in(acting: Any) -> None:
    waiting = quota({"pods": "5"})
    waiting["status"]["used"] = {}
    plugin, _ = acting(waiting)
    text = await refusal(plugin, write(PODS, pod()))
    assert text == 'pods "p" is forbidden: status unknown for quota: q, resources: pods'
    new = {**quota({"pods": "0"}), "status": {}}
    plugin, _ = acting(new)
    await run(plugin, write(PODS, pod()))


async def test_a_dry_run_is_checked_and_not_counted(acting: Any) -> None:
    plugin, store = acting(quota(COMPUTE))
    await run(plugin, write(PODS, asking(), dry_run=True))
    assert store.writes == 0
    assert "exceeded quota" in await refusal(plugin, write(PODS, asking(cpu="9"), dry_run=True))


async def test_every_quota_that_means_the_object_counts_it(acting: Any) -> None:
    plugin, store = acting(
        quota({"pods": "9"}, name="all"),
        quota({"pods": "9"}, name="ending", scopes=["Terminating"]),
        quota({"pods": "9"}, name="low", scopes=["BestEffort"]),
        quota({"services": "9"}, name="services"),
    )
    await run(plugin, write(PODS, pod(activeDeadlineSeconds=9)))
    names = ("all", "ending", "low", "services")
    assert [list(store.used(name).values()) for name in names] == [["1"], ["1"], ["1"], ["0"]]


@pytest.mark.parametrize(
    ("resource", "obj", "more"),
    [
        (EVENTS, {"metadata": {"name": "e"}}, {}),
        (PODS, pod(), {"subresource": "status", "operation": "UPDATE"}),
        (PODS, pod(), {"operation": "UPDATE", "old": pod()}),
        (CONFIGMAPS, {"metadata": {"name": "x"}}, {"namespace": "elsewhere"}),
    ],
)
async def test_what_changes_no_use_costs_nothing(
    acting: Any, resource: Any, obj: Any, more: Any
) -> None:
    plugin, store = acting(quota({"pods": "0", "count/events": "0", "configmaps": "0"}))
    await run(plugin, write(resource, obj, **more))
    assert store.writes == 0


def service(kind: str) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"type": kind, "ports": [{"port": 80}]}}


async def test_an_update_is_charged_with_what_it_adds(acting: Any) -> None:
    plugin, store = acting(quota({"services": "1", "services.nodeports": "1"}, {"services": "1"}))
    update = write(SERVICES, service("NodePort"), "UPDATE", old=service("ClusterIP"))
    await run(plugin, update)
    assert store.used() == {"services": "1", "services.nodeports": "1"}
    back = write(SERVICES, service("ClusterIP"), "UPDATE", old=service("NodePort"))
    await run(plugin, back)
    assert store.used()["services.nodeports"] == "1"  # the controller takes away
    text = await refusal(plugin, update)
    assert "requested: services.nodeports=1" in text


async def test_what_a_status_reports_is_counted_even_beyond_the_limit(acting: Any) -> None:
    spec = {"resources": {"requests": {"storage": "1Gi"}}}
    old = {"metadata": {"name": "c"}, "spec": spec}
    new = {**old, "status": {"allocatedResources": {"storage": "5Gi"}}}
    plugin, store = acting(quota({"requests.storage": "2Gi"}, {"requests.storage": "1Gi"}))
    admission = write(PERSISTENTVOLUMECLAIMS, new, "UPDATE", old=old, subresource="status")
    await run(plugin, admission)
    assert store.used() == {"requests.storage": "5Gi"}


# Many at once


async def outcomes(plugin: Any, count: int) -> list[Any]:
    admissions = [write(PODS, asking("100m", "1Mi", f"p{n}")) for n in range(count)]
    works = [plugin.validate(admission) for admission in admissions]
    return await asyncio.gather(*works, return_exceptions=True)


async def test_of_many_writers_as_many_get_in_as_fit(acting: Any) -> None:
    plugin, store = acting(quota({"pods": "7"}))
    ended = await outcomes(plugin, 50)
    assert sum(isinstance(one, ForbiddenError) for one in ended) == 43
    assert store.used() == {"pods": "7"}
    assert store.writes <= 3  # they are counted together


async def test_a_namespace_that_nobody_writes_to_is_forgotten(acting: Any) -> None:
    plugin, _ = acting(quota({"pods": "7"}))
    await outcomes(plugin, 5)
    assert not plugin._lines


async def test_a_lost_race_is_tried_again_from_what_the_rival_wrote(acting: Any) -> None:
    plugin, store = acting(quota({"pods": "3"}))
    store.rivals.append(lambda: store.lister.put(quota({"pods": "3"}, {"pods": "2"})))
    ended = await outcomes(plugin, 3)
    assert sum(isinstance(one, ForbiddenError) for one in ended) == 2
    assert store.used() == {"pods": "3"}


async def test_of_two_quotas_only_the_one_that_lost_a_race_is_charged_again(acting: Any) -> None:
    plugin, store = acting(quota({"pods": "9"}, name="one"), quota({"pods": "9"}, name="two"))
    rival = quota({"pods": "9"}, {"pods": "5"}, name="two")
    store.rivals += [lambda: None, lambda: store.lister.put(rival)]
    await run(plugin, write(PODS, pod()))
    assert (store.used("one"), store.used("two")) == ({"pods": "1"}, {"pods": "6"})


async def test_whoever_loses_every_race_is_told_so(acting: Any) -> None:
    plugin, store = acting(quota({"pods": "9"}))
    store.rivals += [lambda: store.lister.put(quota({"pods": "9"}))] * 9
    with pytest.raises(ConflictError):
        await run(plugin, write(PODS, pod()))


async def test_a_writer_who_leaves_holds_up_nobody(acting: Any) -> None:
    plugin, store = acting(quota({"pods": "9"}))
    store.gate = asyncio.Event()
    first = asyncio.ensure_future(plugin.validate(write(PODS, asking(name="first"))))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(plugin.validate(write(PODS, asking(name="second"))))
    await asyncio.sleep(0)
    first.cancel()
    store.gate.set()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
    assert store.used() == {"pods": "1"}


async def test_a_failing_datastore_refuses_those_who_wait(acting: Any) -> None:
    plugin, store = acting(quota({"pods": "9"}))

    def fail() -> None:
        raise ServiceUnavailableError("disk full")

    store.rivals += [fail] * 3
    ended = await outcomes(plugin, 3)
    assert all(isinstance(one, ServiceUnavailableError) for one in ended)


async def test_a_batch_is_bounded(acting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_quota, "BATCH_MAX", 10)
    plugin, store = acting(quota({"pods": "100"}))
    await outcomes(plugin, 45)
    assert store.used() == {"pods": "45"}
    assert 5 <= store.writes <= 7


# What is limited by default


LIMITED = (
    LimitedResource("persistentvolumeclaims", (".storageclass.storage.k8s.io/requests.storage",)),
    LimitedResource(
        "pods",
        (),
        ({"scopeName": "PriorityClass", "operator": "In", "values": ["cluster-services"]},),
    ),
)


async def test_what_is_limited_by_default_needs_a_quota(acting: Any) -> None:
    plugin, _ = acting(limited=LIMITED)
    spec = {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"metadata": {"name": "c"}, "spec": spec}
    name = "gold.storageclass.storage.k8s.io/requests.storage"
    text = await refusal(plugin, write(PERSISTENTVOLUMECLAIMS, claim))
    assert text.endswith(f"insufficient quota to consume: {name}")
    plugin, store = acting(quota({name: "2Gi"}), limited=LIMITED)
    await run(plugin, write(PERSISTENTVOLUMECLAIMS, claim))
    assert store.used() == {name: "1Gi"}


async def test_a_priority_class_may_be_limited_to_namespaces_with_a_quota_for_it(
    acting: Any,
) -> None:
    important = pod(priorityClassName="cluster-services")
    plugin, _ = acting(quota({"pods": "9"}), limited=LIMITED)
    text = await refusal(plugin, write(PODS, important))
    assert text.endswith(
        "insufficient quota to match these scopes: [{PriorityClass In [cluster-services]}]"
    )
    await run(plugin, write(PODS, pod()))
    selector = {"matchExpressions": [dict(LIMITED[1].match_scopes[0])]}
    plugin, store = acting(quota({"pods": "9"}, scopeSelector=selector), limited=LIMITED)
    await run(plugin, write(PODS, important))
    assert store.used() == {"pods": "1"}


def test_the_configuration_names_what_is_limited() -> None:
    document = {
        "limitedResources": [
            {"resource": "deployments", "apiGroup": "apps", "matchContains": ["count/"]},
            {"resource": "pods", "matchScopes": [{"scopeName": "PriorityClass"}]},
        ]
    }
    first, second = limited_of(document)
    assert first == LimitedResource("deployments.apps", ("count/",))
    assert second.match_scopes == ({"scopeName": "PriorityClass"},)
    assert limited_of(None) == ()
    for wrong in ({"limitedResources": {}}, {"limitedResources": [{"apiGroup": "apps"}]}):
        with pytest.raises(StartError):
            limited_of(wrong)


def test_evaluators_are_made_once() -> None:
    assert evaluator_of("widgets.example.com") is evaluator_of("widgets.example.com")
