"""Claims on devices: made for pods, reserved for them, and given free when they are over."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from minikube_py.api.core import EVENTS, PODS
from minikube_py.api.object import Key, evolve, get
from minikube_py.api.resource_k8s import RESOURCECLAIMS, RESOURCECLAIMTEMPLATES
from minikube_py.api.resource_k8s.pod_claims import (
    FINALIZER,
    PodClaim,
    claims_of,
    is_reserved_for,
    tolerates,
)
from minikube_py.server.controllers import resource_claim
from minikube_py.server.controllers.resource_claim import generated
from tests.harness import World, harness
from tests.virtual_time import settle, virtual

SPEC = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
TEMPLATE = {
    "metadata": {"name": "t", "namespace": "d"},
    "spec": {"metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}}, "spec": SPEC},
}
RESULT = {"request": "r", "driver": "d.example.com", "pool": "p", "device": "one"}
ALLOCATION = {"devices": {"results": [RESULT]}}


def pod(name: str = "p", node: str = "", **more: Any) -> dict[str, Any]:
    claims = more.pop("claims", [{"name": "gpu", "resourceClaimTemplateName": "t"}])
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}], "resourceClaims": claims}
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name, "namespace": "d"}, "spec": spec, **more}


@asynccontextmanager
async def world(*, template: bool = True) -> AsyncIterator[World]:
    async with harness() as made:
        if template:
            await made.client.create(RESOURCECLAIMTEMPLATES, TEMPLATE)
        made.run(resource_claim.CONTROLLER)
        yield made


def claims(made: World) -> list[Any]:
    return made.cluster.objects(RESOURCECLAIMS)


def there(made: World, name: str = "p") -> Any:
    return made.cluster.table(PODS)[Key("d", name)].obj


async def allocate(made: World, claim: Any, *users: Any) -> None:
    """Do what a scheduler does with a claim."""
    held = await made.client.update(
        RESOURCECLAIMS, evolve(claim, "metadata.finalizers", [FINALIZER])
    )
    entries = [
        {"resource": "pods", "name": user["metadata"]["name"], "uid": user["metadata"]["uid"]}
        for user in users
    ]
    status = {"allocation": ALLOCATION, "reservedFor": entries}
    await made.client.update(RESOURCECLAIMS, {**held, "status": status}, subresource="status")
    await settle()


@virtual
async def test_a_pod_gets_a_claim_of_its_own_for_each_template_it_names() -> None:
    async with world() as made:
        await made.client.create(PODS, pod())
        await settle()
        (claim,) = claims(made)
        metadata = claim["metadata"]
        assert metadata["name"].startswith("p-gpu-")
        assert metadata["labels"] == {"a": "b"}
        assert metadata["annotations"] == {"x": "y", "resource.kubernetes.io/pod-claim-name": "gpu"}
        assert metadata["ownerReferences"][0]["uid"] == there(made)["metadata"]["uid"]
        assert claim["spec"] == RESOURCECLAIMS.default({"spec": SPEC})["spec"]
        named = {"name": "gpu", "resourceClaimName": metadata["name"]}
        assert get(there(made), "status.resourceClaimStatuses") == [named]


@virtual
async def test_a_claim_that_the_status_does_not_name_yet_is_found_again() -> None:
    async with world() as made:
        await made.client.create(PODS, pod())
        await settle()
        (claim,) = claims(made)
        known = there(made)
        await made.client.update(PODS, {**known, "status": {}}, subresource="status")
        await settle()
        assert [one["metadata"]["uid"] for one in claims(made)] == [claim["metadata"]["uid"]]
        assert get(there(made), "status.resourceClaimStatuses")


@virtual
async def test_a_pod_waits_for_its_template_and_is_told() -> None:
    async with world(template=False) as made:
        await made.client.create(PODS, pod())
        await settle()
        await made.clock.sleep(1)
        (event,) = {(one["reason"], one["message"]) for one in made.cluster.objects(EVENTS)}
        assert event[0] == "FailedResourceClaimCreation"
        assert event[1].startswith('PodResourceClaim gpu: resource claim template "t": ')
        await made.client.create(RESOURCECLAIMTEMPLATES, TEMPLATE)
        await settle()
        assert len(claims(made)) == 1


@virtual
async def test_the_claim_of_a_pod_that_is_over_goes_although_the_pod_stays() -> None:
    async with world() as made:
        await made.client.create(PODS, pod())
        await settle()
        await allocate(made, claims(made)[0], there(made))
        assert is_reserved_for(there(made), claims(made)[0])
        ended = evolve(there(made), "status.phase", "Succeeded")
        await made.client.update(PODS, ended, subresource="status")
        await settle()
        assert claims(made) == []
        assert there(made)


@virtual
async def test_a_shared_claim_is_free_again_when_its_last_user_went() -> None:
    async with world() as made:
        own = {"metadata": {"name": "shared", "namespace": "d"}, "spec": SPEC}
        await made.client.create(RESOURCECLAIMS, own)
        users = []
        for name in ("one", "two"):
            claim = [{"name": "gpu", "resourceClaimName": "shared"}]
            users.append(await made.client.create(PODS, pod(name, "n", claims=claim)))
        await allocate(made, claims(made)[0], *users)
        await made.client.delete(PODS, "one", "d", options={"gracePeriodSeconds": 0})
        await settle()
        (claim,) = claims(made)
        assert [user["name"] for user in claim["status"]["reservedFor"]] == ["two"]
        assert claim["status"]["allocation"] == ALLOCATION
        await made.client.delete(PODS, "two", "d", options={"gracePeriodSeconds": 0})
        await settle()
        (claim,) = claims(made)
        assert "allocation" not in claim["status"]
        assert "reservedFor" not in claim["status"]
        assert not claim["metadata"].get("finalizers")


@virtual
async def test_a_finalizer_that_a_scheduler_has_just_put_on_stays() -> None:
    async with world() as made:
        await made.client.create(PODS, pod())
        await settle()
        held = evolve(claims(made)[0], "metadata.finalizers", [FINALIZER])
        await made.client.update(RESOURCECLAIMS, held)
        await settle()
        assert claims(made)[0]["metadata"]["finalizers"] == [FINALIZER]
        await made.client.delete(RESOURCECLAIMS, held["metadata"]["name"], "d")
        await settle()
        (other,) = claims(made)  # the pod has lost its claim, and got another
        assert other["metadata"]["uid"] != held["metadata"]["uid"]


@virtual
async def test_a_pod_with_a_node_has_what_is_allocated_reserved() -> None:
    async with world() as made:
        own = {"metadata": {"name": "shared", "namespace": "d"}, "spec": SPEC}
        created = await made.client.create(RESOURCECLAIMS, own)
        await allocate(made, created)
        claim = [{"name": "gpu", "resourceClaimName": "shared"}]
        await made.client.create(PODS, pod("bound", "n", claims=claim))
        await settle()
        assert is_reserved_for(there(made, "bound"), claims(made)[0])


def test_long_names_are_cut_in_proportion() -> None:
    long = pod("p" * 60)
    long["metadata"]["uid"] = "u"
    made = generated(long, PodClaim("e" * 30, None, "t"), TEMPLATE)
    base = made["metadata"]["generateName"]
    assert len(base) <= resource_claim.BASE_MAX
    assert set(base) == {"p", "e", "-"}


def test_entries_of_a_pod_say_what_is_known() -> None:
    entries = [
        {"name": "a", "resourceClaimName": "x"},
        {"name": "b", "resourceClaimTemplateName": "t"},
        {"name": "c", "resourceClaimTemplateName": "t"},
        {"name": "d", "resourceClaimTemplateName": "t"},
    ]
    statuses = [{"name": "c", "resourceClaimName": "made"}, {"name": "d"}]
    status = {"resourceClaimStatuses": statuses}
    assert list(claims_of(pod(claims=entries, status=status))) == [
        PodClaim("a", "x", ""),
        PodClaim("b", None, "t"),
        PodClaim("c", "made", "t"),
        PodClaim("d", "", "t"),
    ]


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "operator": "Equal", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_what_a_toleration_bears(toleration: Any, expected: bool) -> None:  # noqa: FBT001
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    assert tolerates(toleration, taint) is expected
