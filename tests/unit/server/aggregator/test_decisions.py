"""What is decided about an APIService: its registration, its condition, who answers for it."""

from typing import Any

import pytest

from minikube_py.api.object import evolve
from minikube_py.server.aggregator import registration
from minikube_py.server.aggregator.availability import (
    LOCAL_AVAILABLE,
    PASSED,
    failed,
    unreachable,
    with_verdict,
)
from minikube_py.server.aggregator.documents import entry_of, entry_of_resources, index_of
from minikube_py.server.aggregator.forward import escaped, user_headers
from minikube_py.server.aggregator.routes import remote_of
from minikube_py.server.attributes import User

NOW, LATER = "2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z"
REFERENCE = {"namespace": "ns", "name": "api", "port": 443}
READY = {"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "https", "port": 8443}]}
SERVICE = {"spec": {"ports": [{"name": "https", "port": 443}]}}


def api_service(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "v1.example.com", "labels": labels or {}},
        "spec": {"group": "example.com", "version": "v1", **spec},
    }


# --- registration ---------------------------------------------------------------------------------

WANTED = registration.wanted("v1.example.com", [("example.com", "v1")])
ALWAYS = {registration.MANAGED: "true"}
ON_START = {registration.MANAGED: "onstart"}


def test_only_served_versions_are_registered() -> None:
    versions = [{"name": "v1", "served": True}, {"name": "v2", "served": False}]
    crd = {"spec": {"group": "example.com", "versions": versions}}
    assert registration.served_versions(crd) == (("example.com", "v1"),)
    assert registration.wanted("v2.example.com", registration.served_versions(crd)) is None


@pytest.mark.parametrize(
    ("current", "desired", "step"),
    [
        (None, None, None),
        (None, WANTED, "create"),
        (WANTED, WANTED, None),
        (api_service(ALWAYS, versionPriority=7), WANTED, "update"),
        (api_service(ALWAYS), None, "delete"),
        (api_service(ON_START), None, "delete"),
        (api_service(), None, None),
        (api_service(), WANTED, None),
        (api_service({registration.MANAGED: "false"}), WANTED, None),
    ],
)
def test_only_what_is_managed_is_brought_into_line(current: Any, desired: Any, step: Any) -> None:
    assert registration.step(current, desired, built_in=False) == step


def test_built_in_groups_are_left_to_the_administrator() -> None:
    assert registration.step(None, WANTED, built_in=True) is None
    assert registration.step(api_service(ON_START), None, built_in=True) is None


# --- availability ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "slices", "reason"),
    [
        (None, [READY], "ServiceNotFound"),
        (SERVICE, [], "EndpointsNotFound"),
        (SERVICE, [{**READY, "ports": [{"port": 8443}]}], "MissingEndpoints"),
        (SERVICE, [evolve(READY, "ports", [{"name": "https"}])], "MissingEndpoints"),
        (
            SERVICE,
            [{**READY, "endpoints": [{"addresses": ["a"], "conditions": {"ready": False}}]}],
            "MissingEndpoints",
        ),
        (evolve(SERVICE, "spec.ports", [{"port": 80}]), [READY], "ServicePortError"),
        (SERVICE, [{}, READY], None),
        (evolve(SERVICE, "spec.type", "ExternalName"), [], None),
    ],
)
def test_a_service_has_to_have_endpoints(service: Any, slices: Any, reason: str | None) -> None:
    verdict = unreachable(REFERENCE, service, slices)
    assert (verdict.reason if verdict else None) == reason


def test_a_verdict_keeps_the_time_of_the_last_change() -> None:
    first = with_verdict(api_service(), failed("one"), NOW)
    second = with_verdict(first, failed("two"), LATER)
    [condition] = second["status"]["conditions"]
    assert (condition["message"], condition["lastTransitionTime"]) == ("two", NOW)
    third = with_verdict(second, PASSED, LATER)
    [condition] = third["status"]["conditions"]
    assert (condition["status"], condition["lastTransitionTime"]) == ("True", LATER)
    assert with_verdict(third, PASSED, "never") is third


def test_a_verdict_leaves_other_conditions_alone() -> None:
    other = {"type": "Other", "status": "True"}
    known = {**api_service(), "status": {"conditions": [other]}}
    conditions = with_verdict(known, LOCAL_AVAILABLE, NOW)["status"]["conditions"]
    assert [condition["type"] for condition in conditions] == ["Other", "Available"]


# --- who answers, and what it is told -----------------------------------------------------------


def test_an_api_service_without_a_service_is_local() -> None:
    assert remote_of(api_service()) is None
    remote = remote_of(api_service(service={"namespace": "ns", "name": "api"}, caBundle="YQ=="))
    assert remote is not None
    assert (remote.path, remote.port, remote.ca_bundle, remote.available) == (
        "/apis/example.com/v1",
        443,
        b"a",
        False,
    )


def test_users_are_told_in_headers() -> None:
    user = User("jane", ("a", "b"), "u-1", {"example.com/Key": ("x", "y")})
    assert list(user_headers(user)) == [
        ("X-Remote-User", "jane"),
        ("X-Remote-Uid", "u-1"),
        ("X-Remote-Group", "a"),
        ("X-Remote-Group", "b"),
        ("X-Remote-Extra-example.com%2FKey", "x"),
        ("X-Remote-Extra-example.com%2FKey", "y"),
    ]


@pytest.mark.parametrize(
    ("key", "name"), [("a-b", "a-b"), ("50%", "50%25"), ("ä", "%C3%A4"), ("a b", "a%20b")]
)
def test_keys_that_no_header_may_have_are_escaped(key: str, name: str) -> None:
    assert escaped(key) == name


# --- what other servers say ---------------------------------------------------------------------


def test_plain_discovery_becomes_an_entry_of_aggregated_discovery() -> None:
    resources = [
        {"name": "foos/status", "kind": "Foo", "namespaced": True, "verbs": ["get"]},
        {
            "name": "foos",
            "singularName": "foo",
            "kind": "Foo",
            "namespaced": True,
            "verbs": ["get", "list"],
            "shortNames": ["f"],
        },
    ]
    entry = entry_of_resources({"resources": resources}, "v1")
    kind = {"group": "", "version": "", "kind": "Foo"}
    assert entry == {
        "version": "v1",
        "resources": [
            {
                "resource": "foos",
                "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get"]}],
                "responseKind": kind,
                "scope": "Namespaced",
                "singularResource": "foo",
                "verbs": ["get", "list"],
                "shortNames": ["f"],
            }
        ],
    }


def test_a_version_that_a_server_does_not_name_has_no_resources() -> None:
    items = [{"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "x": 1}]}]
    document = {"items": items}
    assert entry_of(document, "example.com", "v1") == {"version": "v1", "x": 1}
    assert entry_of(document, "example.com", "v2") == {"version": "v2"}
    assert entry_of(None, "example.com", "v1") is None


@pytest.mark.parametrize("document", [None, [], {"paths": 1}, {"paths": {"apis/a/v1": 1}}])
def test_an_index_that_makes_no_sense_is_empty(document: Any) -> None:
    assert index_of(document, "apis/a/v1") == {}
