"""Who may write which part of a resource claim's status."""

from typing import Any

import pytest

from tests.integration.conftest import Answer, Server
from tests.integration.test_policy_access import BINDINGS, allow

DRA, GROUP = "/apis/resource.k8s.io/v1", "resource.k8s.io"
CLAIM = f"{DRA}/namespaces/default/resourceclaims/c"
MERGE = "application/merge-patch+json"
ON_NODE = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]}
RESULT = {"request": "one", "driver": "d.example.com", "pool": "p", "device": "x"}
ALLOCATION = {
    "devices": {"results": [RESULT]},
    "nodeSelector": {"nodeSelectorTerms": [ON_NODE]},
}
DEVICES = [{"driver": "d.example.com", "pool": "p", "device": "x"}]
CONSUMERS = [{"resource": "pods", "name": "p", "uid": "u"}]
CANNOT = (
    'resourceclaims.resource.k8s.io{name} is forbidden: User "ann" cannot {verb} resource '
    '"resourceclaims/{sub}" in API group "resource.k8s.io" {where}'
)


@pytest.fixture
async def cluster(server: Server) -> Server:
    """A server with an allocated claim, whose status ann may write as far as it is hers."""
    exactly = {"deviceClassName": "gpu"}
    spec = {"devices": {"requests": [{"name": "one", "exactly": exactly}]}}
    body = {"metadata": {"name": "c"}, "spec": spec}
    path = CLAIM.removesuffix("/c")
    assert (await server.call("POST", path, body)).status == 201
    answer = await write(server, {"allocation": ALLOCATION}, user="")
    assert answer.status == 200, answer.body
    await allow(server, "status", (GROUP, "resourceclaims/status", "*"))
    await allow(server, "get", (GROUP, "resourceclaims", "get"))
    return server


async def write(
    server: Server, status: Any, *, user: str = "ann", put: bool = False, **more: Any
) -> Answer:
    who = {"impersonate_user": user, **more} if user else {}
    if put:
        found = (await server.call("GET", CLAIM)).body
        body = {**found, "status": {**found["status"], **status}}
        return await server.call("PUT", f"{CLAIM}/status", body, **who)
    body = {"status": status}
    return await server.call("PATCH", f"{CLAIM}/status", body, content_type=MERGE, **who)


def refused(answer: Answer, field: str, text: str) -> None:
    assert answer.status == 422, answer.body
    causes = answer.body["details"]["causes"]
    assert [(cause["reason"], cause["field"], cause["message"]) for cause in causes] == [
        ("FieldValueForbidden", field, f"Forbidden: {text}")
    ]


@pytest.mark.parametrize("verb", ["update", "patch"])
@pytest.mark.parametrize("status", [{"allocation": None}, {"reservedFor": CONSUMERS}])
async def test_devices_are_given_by_those_who_may_bind(
    cluster: Server, status: Any, verb: str
) -> None:
    put = verb == "update"
    where = "at the cluster scope"
    refused(
        await write(cluster, status, put=put),
        "status",
        "changing status.allocation or status.reservedFor requires "
        f'resource="resourceclaims/binding", verb="{verb}" permission: '
        + CANNOT.format(name="", verb=verb, sub="binding", where=where),
    )
    await allow(cluster, "bind", (GROUP, "resourceclaims/binding", verb))
    answer = await write(cluster, status, put=put)
    assert answer.status == 200, answer.body


async def test_the_state_of_devices_is_told_by_their_driver(cluster: Server) -> None:
    verb = "arbitrary-node:patch"
    name, where = ' "d.example.com"', 'in the namespace "default"'
    refused(
        await write(cluster, {"devices": DEVICES}),
        "status.devices",
        f'changing status.devices requires resource="resourceclaims/driver", verb="[{verb}]" '
        f"permission: {CANNOT.format(name=name, verb=verb, sub='driver', where=where)}",
    )
    await allow(cluster, "drive", (GROUP, "resourceclaims/driver", verb))
    assert (await write(cluster, {"devices": DEVICES})).status == 200


@pytest.mark.parametrize(("node", "status"), [("n", 200), ("other", 422)])
async def test_a_driver_speaks_for_its_own_node(cluster: Server, node: str, status: int) -> None:
    account = "system:serviceaccount:kube-system:driver"
    await allow(cluster, "near", (GROUP, "resourceclaims/driver", "associated-node:patch"))
    subject = {"kind": "ServiceAccount", "namespace": "kube-system", "name": "driver"}
    for name in ("status", "near"):
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        body = {"metadata": {"name": f"its-{name}"}, "subjects": [subject], "roleRef": reference}
        assert (await cluster.call("POST", BINDINGS, body)).status == 201
    extra = {"impersonate-extra-authentication.kubernetes.io%2fnode-name": node}
    answer = await write(cluster, {"devices": DEVICES}, user=account, **extra)
    assert answer.status == status, answer.body
    # What it knows of its own devices is no right to free them.
    answer = await write(cluster, {"allocation": None, "devices": []}, user=account, **extra)
    assert answer.status == 422


async def test_admin_access_is_given_where_the_namespace_allows_it(cluster: Server) -> None:
    assert (await write(cluster, {"allocation": None}, user="")).status == 200
    results = [{**RESULT, "adminAccess": True}]
    admin = {"allocation": {**ALLOCATION, "devices": {"results": results}}}
    refused(
        await write(cluster, admin, user=""),
        "status.allocation.devices.results[0].adminAccess",
        "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label "
        "on the containing namespace",
    )
    labels = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    path = "/api/v1/namespaces/default"
    assert (await cluster.call("PATCH", path, labels, content_type=MERGE)).status == 200
    assert (await write(cluster, admin, user="")).status == 200
