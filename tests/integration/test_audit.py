"""The audit log over HTTP and in process: which requests are in it, and what is said of them."""

import json
import ssl
from pathlib import Path
from typing import Any

import yaml

from minikube_py.api.coordination import LEASES
from minikube_py.api.core import CONFIGMAPS, NODES, SECRETS
from minikube_py.server.parts import APISERVER
from tests.integration.conftest import running

EVERYTHING = {"level": "RequestResponse"}
CONFIGMAPS_PATH = "/api/v1/namespaces/default/configmaps"


def policy(folder: Path, *rules: Any, **more: Any) -> str:
    """Write a policy; return its path."""
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules, **more}
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(document))
    return str(path)


def audited(folder: Path, *rules: Any, **more: Any):
    """Run a server whose log is complete whenever it has answered."""
    options = {"audit_policy_file": policy(folder, *rules, **more)} if rules else {}
    return running(folder / "data", audit_log_mode="blocking", **options)


def events(folder: Path) -> list[dict[str, Any]]:
    """Return what the log holds."""
    path = folder / "data" / "server" / "logs" / "audit.log"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def of(folder: Path, stage: str = "ResponseComplete", **wanted: Any) -> list[dict[str, Any]]:
    """Return the events with these fields."""
    return [
        event
        for event in events(folder)
        if event["stage"] == stage and all(event.get(key) == wanted[key] for key in wanted)
    ]


async def test_an_event_says_who_did_what_when_and_what_became_of_it(tmp_path):
    async with audited(tmp_path, EVERYTHING) as server:
        body = {"metadata": {"name": "a"}, "data": {"k": "v"}}
        answer = await server.call("POST", CONFIGMAPS_PATH, body, user_agent="me/1")
        assert answer.status == 201
        identifier = answer.headers["Audit-ID"]
        received = of(tmp_path, "RequestReceived", auditID=identifier)
        assert [event.get("responseStatus") for event in received] == [None]
        (event,) = of(tmp_path, auditID=identifier)
    assert (event["kind"], event["apiVersion"]) == ("Event", "audit.k8s.io/v1")
    assert (event["level"], event["verb"]) == ("RequestResponse", "create")
    assert event["requestURI"] == CONFIGMAPS_PATH
    assert event["user"]["username"] == "kubernetes-admin"
    assert "system:masters" in event["user"]["groups"]
    assert (event["sourceIPs"], event["userAgent"]) == (["127.0.0.1"], "me/1")
    assert event["objectRef"] == {
        "resource": "configmaps",
        "namespace": "default",
        "name": "a",
        "apiVersion": "v1",
    }
    assert event["responseStatus"] == {"metadata": {}, "code": 201}
    assert event["requestObject"]["data"] == event["responseObject"]["data"] == {"k": "v"}
    assert event["responseObject"]["metadata"]["uid"]
    assert event["annotations"] == {
        "authorization.k8s.io/decision": "allow",
        "authorization.k8s.io/reason": "",
    }
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"]


async def test_a_client_may_name_its_request(tmp_path):
    async with audited(tmp_path, EVERYTHING) as server:
        answer = await server.call("GET", CONFIGMAPS_PATH, audit_id="mine")
        assert answer.headers["Audit-ID"] == "mine"
        assert of(tmp_path, auditID="mine")
        answer = await server.call("GET", "/livez")
        assert len(answer.headers["Audit-ID"]) == 36


async def test_refusals_and_impersonation_are_in_the_log(tmp_path):
    async with audited(tmp_path, EVERYTHING) as server:
        answer = await server.call("DELETE", f"{CONFIGMAPS_PATH}/a", impersonate_user="jane")
        assert answer.status == 403
        (event,) = of(tmp_path, auditID=answer.headers["Audit-ID"])
        assert event["user"]["username"] == "kubernetes-admin"
        assert event["impersonatedUser"]["username"] == "jane"
        assert event["responseStatus"]["reason"] == "Forbidden"
        assert event["responseStatus"]["code"] == 403
        assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
        stranger = {"Authorization": "Bearer wrong", "Audit-ID": "stranger"}
        authority = str(server.app.bootstrap.cluster_ca.certificate_path)
        tls = ssl.create_default_context(cafile=authority)  # without a certificate
        url = f"{server.url}/api/v1/pods"
        async with server.session.get(url, headers=stranger, ssl=tls) as refused:
            assert refused.status == 401
        (event,) = of(tmp_path, auditID="stranger")
        assert (event["user"], event["responseStatus"]["code"]) == ({}, 401)
        answer = await server.call("POST", CONFIGMAPS_PATH, b"{")
        (event,) = of(tmp_path, auditID=answer.headers["Audit-ID"])
        assert event["responseStatus"]["code"] == 400


async def test_a_watch_is_logged_when_it_begins_and_when_it_ends(tmp_path):
    async with audited(tmp_path, EVERYTHING) as server:
        path = f"{CONFIGMAPS_PATH}?watch=1&timeoutSeconds=1"
        answer = await server.call("GET", path)
        identifier = answer.headers["Audit-ID"]
        await server.call("GET", CONFIGMAPS_PATH)  # the end of the watch is written by then
        stages = [e["stage"] for e in events(tmp_path) if e["auditID"] == identifier]
        assert stages == ["RequestReceived", "ResponseStarted", "ResponseComplete"]
        assert of(tmp_path, auditID=identifier)[0]["responseStatus"]["code"] == 200


async def test_a_patch_a_list_and_a_deletion_show_their_bodies(tmp_path):
    async with audited(tmp_path, EVERYTHING, omitManagedFields=True) as server:
        made = {"metadata": {"name": "a"}}
        assert (await server.call("POST", CONFIGMAPS_PATH, made)).status == 201
        patch, merge = {"data": {"x": "y"}}, "application/merge-patch+json"
        path = f"{CONFIGMAPS_PATH}/a"
        assert (await server.call("PATCH", path, patch, content_type=merge)).status == 200
        assert of(tmp_path, verb="patch")[0]["requestObject"] == patch
        assert (await server.call("GET", CONFIGMAPS_PATH)).status == 200
        listed = of(tmp_path, verb="list")[-1]["responseObject"]
        assert listed["kind"] == "ConfigMapList"
        assert any(item.get("data") == {"x": "y"} for item in listed["items"])
        assert "managedFields" not in json.dumps(events(tmp_path))
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        assert (await server.call("DELETE", path, options)).status == 200
        assert of(tmp_path, verb="delete")[0]["requestObject"]["gracePeriodSeconds"] == 0


async def test_the_default_policy_logs_changes_and_no_secret(tmp_path):
    secret = {"metadata": {"name": "s"}, "stringData": {"k": "planted-secret"}}
    secrets = "/api/v1/namespaces/default/secrets"
    async with audited(tmp_path) as server:
        assert (await server.call("POST", secrets, secret)).status == 201
        assert (await server.call("GET", f"{secrets}/s")).status == 200
        assert (await server.call("GET", CONFIGMAPS_PATH)).status == 200
        verbs = [(event["verb"], event["objectRef"]["resource"]) for event in events(tmp_path)]
        assert verbs == [("create", "secrets"), ("get", "secrets")]
        assert {event["level"] for event in events(tmp_path)} == {"Metadata"}
        page = (await server.call("GET", "/metrics")).raw.decode()
        assert "apiserver_audit_event_total 2" in page
        assert 'apiserver_audit_error_total{plugin="buffered"} 0' in page
    path = tmp_path / "data" / "server" / "logs" / "audit.log"
    assert "planted" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_parts_in_process_are_audited_as_clients_are(tmp_path):
    async with audited(tmp_path, EVERYTHING) as server:
        client = server.app.loopback("system:kube-controller-manager")
        made = await server.client.create(
            CONFIGMAPS,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "a", "namespace": "default"},
            },
        )
        listed = await client.list(SECRETS, "default")
        assert listed.items == []
        await server.call("GET", CONFIGMAPS_PATH)  # what was put before is written by then
        (event,) = of(tmp_path, verb="create", requestURI=CONFIGMAPS_PATH)
        assert event["user"]["username"] == APISERVER.name
        assert event["responseObject"]["metadata"]["uid"] == made["metadata"]["uid"]
        (event,) = of(
            tmp_path,
            verb="list",
            user={"username": "system:kube-controller-manager", "groups": ["system:authenticated"]},
        )
        assert event["responseStatus"]["code"] == 200


async def test_no_log_is_kept_where_none_is_wanted(tmp_path):
    async with running(tmp_path / "data", audit_log_path="none") as server:
        answer = await server.call("POST", CONFIGMAPS_PATH, {"metadata": {"name": "a"}})
        assert answer.status == 201
    assert events(tmp_path) == []


async def test_a_node_at_rest_writes_nothing_to_the_log(tmp_path):
    async with audited(tmp_path) as server:
        assert (
            await server.call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
        ).status == 201
        before = events(tmp_path)
        assert [event["objectRef"]["resource"] for event in before] == ["nodes"]
        node = server.app.loopback("system:node:n")
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "n", "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": "n"},
        }
        await node.create(LEASES, lease)
        await node.patch(NODES, "n", {"status": {"conditions": []}}, subresource="status")
        await node.get(NODES, "n")
        assert (await server.call("GET", "/api/v1/nodes/n")).status == 200
        assert events(tmp_path) == before
