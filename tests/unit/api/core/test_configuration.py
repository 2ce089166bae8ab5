"""Config maps, secrets, endpoints, events, namespaces and the small kinds."""

import base64
from typing import Any

import pytest

from minikube_py.api.core import (
    COMPONENTSTATUSES,
    CONFIGMAPS,
    ENDPOINTS,
    EVENTS,
    NAMESPACES,
    SECRETS,
    SERVICEACCOUNTS,
)
from minikube_py.api.object import Obj
from minikube_py.api.resource import Age, Resource
from tests.frozen import freeze

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z"
MIB = 1024 * 1024


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def made(resource: Resource, **fields: Any) -> Obj:
    metadata = {"name": "x", "namespace": "n", "creationTimestamp": NOW}
    metadata |= fields.pop("metadata", {})
    return freeze(resource.default(freeze({"metadata": metadata, **fields})))


def refused(resource: Resource, old: Obj | None = None, **fields: Any) -> list[str]:
    return [str(error) for error in resource.validate(made(resource, **fields), old)]


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"data": {"a/b": ""}}, ['data[a/b]: Invalid value: "a/b": a valid config key']),
        ({"binaryData": {"..": ""}}, ["binaryData[..]: Invalid value: \"..\": must not be '..'"]),
        (
            {"data": {"a": ""}, "binaryData": {"a": ""}},
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
        ),
        ({"data": {"a": "é" * (MIB // 2)}}, []),
        (
            {"data": {"a": "é" * (MIB // 2)}, "binaryData": {"b": b64("x")}},
            ["[]: Too long: may not be more than 1048576 bytes"],
        ),
    ],
)
def test_a_config_map_has_good_keys_and_is_small(fields: dict[str, Any], errors: list[str]) -> None:
    found = refused(CONFIGMAPS, **fields)
    assert len(found) == len(errors)
    for text, beginning in zip(found, errors, strict=True):
        assert text.startswith(beginning)


def test_what_is_immutable_stays_so() -> None:
    old = made(CONFIGMAPS, data={"a": "b"}, immutable=True)
    words = "Forbidden: field is immutable when `immutable` is set"
    assert refused(CONFIGMAPS, old, data={"a": "b"}, immutable=True) == []
    assert refused(CONFIGMAPS, old, data={"a": "c"}, binaryData={"b": ""}) == [
        f"immutable: {words}",
        f"data: {words}",
        f"binaryData: {words}",
    ]


def test_text_joins_the_data_of_a_secret() -> None:
    secret = made(SECRETS, data={"a": b64("1"), "b": b64("2")}, stringData={"a": "é"})
    assert secret["data"] == {"a": b64("é"), "b": b64("2")}
    assert "stringData" not in secret
    assert secret["type"] == "Opaque"


@pytest.mark.parametrize(
    ("kind", "data", "errors"),
    [
        ("kubernetes.io/dockercfg", {}, ["data[.dockercfg]: Required value"]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b64('{"auths": {}}')}, []),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": b64("")},
            ["data[.dockerconfigjson]: Invalid value", "unexpected end of JSON input"],
        ),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": b64("x")},
            ["<secret contents redacted>", "invalid character 'x' looking for beginning of value"],
        ),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": b64('{"a":')},
            ["unexpected end of JSON input"],
        ),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": b64("[]")},
            ["json: cannot unmarshal array into Go value of type map[string]interface {}"],
        ),
        (
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": b64("{} x")},
            ["invalid character 'x' after top-level value"],
        ),
        (
            "kubernetes.io/basic-auth",
            {},
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        ("kubernetes.io/basic-auth", {"password": ""}, []),
        ("kubernetes.io/ssh-auth", {"ssh-privatekey": ""}, ["data[ssh-privatekey]: Required"]),
        ("kubernetes.io/tls", {"tls.crt": ""}, ["data[tls.key]: Required value"]),
        (
            "kubernetes.io/service-account-token",
            {},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ("example.com/other", {"a b": ""}, ['data[a b]: Invalid value: "a b"']),
        ("Opaque", {"a": b64("x" * (MIB + 1))}, ["data: Too long: may not be more than 1048576"]),
    ],
)
def test_a_secret_holds_what_its_type_promises(
    kind: str, data: dict[str, str], errors: list[str]
) -> None:
    found = refused(SECRETS, type=kind, data=data)
    assert bool(found) == bool(errors)
    for text in errors:
        assert any(text in one for one in found)


def test_the_type_of_a_secret_never_changes() -> None:
    assert refused(SECRETS, made(SECRETS, type="a"), type="b") == [
        'type: Invalid value: "b": field is immutable'
    ]


@pytest.mark.parametrize(
    ("subset", "error"),
    [
        ({}, "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
        ({"addresses": [{"ip": "0.0.0.0"}]}, "subsets[0].addresses[0].ip: Invalid value: "),
        ({"addresses": [{"ip": "127.0.0.1"}]}, "subsets[0].addresses[0].ip: Invalid value: "),
        ({"addresses": [{"ip": "fe80::1"}]}, "subsets[0].addresses[0].ip: Invalid value: "),
        ({"addresses": [{"ip": "224.0.0.1"}]}, "subsets[0].addresses[0].ip: Invalid value: "),
        ({"addresses": [{"ip": "ff02::1"}]}, "subsets[0].addresses[0].ip: Invalid value: "),
        (
            {"notReadyAddresses": [{"ip": "1.2.3.4", "hostname": "a.b"}]},
            'subsets[0].notReadyAddresses[0].hostname: Invalid value: "a.b": must not contain dots',
        ),
        (
            {"addresses": [{"ip": "1.2.3.4", "nodeName": "A_"}]},
            'subsets[0].addresses[0].nodeName: Invalid value: "A_"',
        ),
        (
            {"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 0}]},
            "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            {"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1, "protocol": "ICMP"}]},
            'subsets[0].ports[0].protocol: Unsupported value: "ICMP"',
        ),
        (
            {"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1, "name": "A"}]},
            'subsets[0].ports[0].name: Invalid value: "A"',
        ),
        (
            {"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1}, {"port": 2, "name": "a"}]},
            "subsets[0].ports[0].name: Required value",
        ),
        (
            {"addresses": [{"ip": "1.2.3.4"}], "ports": [{"port": 1, "appProtocol": "a b"}]},
            'subsets[0].ports[0].appProtocol: Invalid value: "a b"',
        ),
    ],
)
def test_bad_endpoints_are_refused(subset: dict[str, Any], error: str) -> None:
    (found,) = refused(ENDPOINTS, subsets=[subset])
    assert found.startswith(error)


@pytest.mark.parametrize(
    ("subsets", "shown"),
    [
        ([], "<none>"),
        ([{"addresses": [{"ip": "1.1.1.1"}]}], "1.1.1.1"),
        (
            [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "fd00::1"}], "ports": [{"port": 80}]}],
            "1.1.1.1:80,[fd00::1]:80",
        ),
        (
            [
                {
                    "addresses": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}],
                    "ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}],
                }
            ],
            "1.1.1.1:80,1.1.1.2:80,1.1.1.1:81 + 1 more...",
        ),
    ],
)
def test_a_row_shows_the_first_endpoints(subsets: list[Any], shown: str) -> None:
    assert ENDPOINTS.cells is not None
    assert ENDPOINTS.cells(made(ENDPOINTS, subsets=subsets)) == ("x", shown, Age(NOW))


NEW_EVENT = {
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "involvedObject": {"namespace": "n"},
    "reportingComponent": "a.b/c",
    "reportingInstance": "i",
    "action": "a",
    "reason": "r",
}


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"involvedObject": {"namespace": "n"}}, []),
        ({"involvedObject": {"namespace": "m"}}, ["involvedObject.namespace"]),
        ({}, ["involvedObject.namespace"]),
        ({"metadata": {"namespace": "default"}}, []),
        (NEW_EVENT, []),
        ({**NEW_EVENT, "involvedObject": {}}, ["involvedObject.namespace"]),
        (
            {**NEW_EVENT, "involvedObject": {}, "metadata": {"namespace": "kube-system"}},
            [],
        ),
        ({**NEW_EVENT, "reportingComponent": ""}, ["reportingComponent"] * 3),
        ({**NEW_EVENT, "action": "", "reason": "x" * 129}, ["action", "reason"]),
        ({**NEW_EVENT, "message": "x" * 1025}, ["message"]),
    ],
)
def test_an_event_is_about_its_own_namespace_and_says_who_saw_it(
    fields: dict[str, Any], errors: list[str]
) -> None:
    found = [error.field for error in EVENTS.validate(made(EVENTS, **fields), None)]
    assert found == errors


def test_rows_of_events_show_when_and_how_often() -> None:
    assert EVENTS.cells is not None
    event = made(
        EVENTS,
        firstTimestamp=NOW,
        lastTimestamp=LATER,
        count=3,
        type="Normal",
        reason="R",
        message=" text \n",
        involvedObject={"kind": "Pod", "name": "p", "fieldPath": "f"},
        source={"component": "kubelet", "host": "h"},
    )
    middle = ("Normal", "R", "pod/p", "f", "kubelet, h", "text")
    assert EVENTS.cells(event) == (Age(LATER), *middle, Age(NOW), 3, "x")
    series = made(EVENTS, eventTime=NOW, series={"count": 7, "lastObservedTime": LATER})
    row = EVENTS.cells(series)
    assert (row[0], row[3], row[8]) == (Age(LATER), "", 7)
    assert EVENTS.selected(event)["source"] == "kubelet"


def test_a_namespace_is_labelled_with_its_name_and_waits_for_what_is_in_it() -> None:
    namespace = NAMESPACES.prepare_for_create(freeze({"metadata": {"name": "n"}}))
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    assert namespace["spec"]["finalizers"] == ["kubernetes"]
    assert namespace["status"] == {"phase": "Active"}
    emptied = {**namespace, "spec": {}, "status": {}}
    assert NAMESPACES.prepare_for_update(freeze(emptied), namespace) == namespace


@pytest.mark.parametrize(
    ("finalizer", "count"), [("kubernetes", 0), ("a.b/c", 0), ("odd", 1), ("a b", 2)]
)
def test_finalizers_of_a_namespace_have_a_domain(finalizer: str, count: int) -> None:
    assert len(refused(NAMESPACES, spec={"finalizers": [finalizer]})) == count
    finalize = NAMESPACES.subresource("finalize")
    assert finalize is not None
    assert finalize.validate is not None
    namespace = made(NAMESPACES, spec={"finalizers": [finalizer]})
    fields = [error.field for error in finalize.validate(namespace, None)]
    assert fields == ["spec.finalizers[0]"] * count


@pytest.mark.parametrize(
    ("deleted", "phase", "words"),
    [
        (None, "Active", ""),
        (NOW, "Terminating", ""),
        (None, "Terminating", "may only be 'Active' if `deletionTimestamp` is empty"),
        (NOW, "Active", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
    ],
)
def test_the_phase_of_a_namespace_goes_with_its_deletion(
    deleted: str | None, phase: str, words: str
) -> None:
    status = NAMESPACES.subresource("status")
    assert status is not None
    assert status.validate is not None
    metadata = {"deletionTimestamp": deleted} if deleted else {}
    namespace = made(NAMESPACES, metadata=metadata, status={"phase": phase})
    errors = [error.text for error in status.validate(namespace, None)]
    assert [words in text for text in errors] == [True] * bool(words)


@pytest.mark.parametrize(
    ("conditions", "row"),
    [
        ([], ("Unknown", "", "")),
        ([{"type": "Healthy", "status": "True", "message": "ok"}], ("Healthy", "ok", "")),
        ([{"type": "Healthy", "status": "False", "error": "bad"}], ("Unhealthy", "", "bad")),
    ],
)
def test_a_component_is_as_healthy_as_it_says(conditions: list[Any], row: tuple[str, ...]) -> None:
    assert COMPONENTSTATUSES.cells is not None
    assert COMPONENTSTATUSES.cells(made(COMPONENTSTATUSES, conditions=conditions)) == ("x", *row)


def test_rows_count_what_there_is() -> None:
    assert CONFIGMAPS.cells is not None
    assert SECRETS.cells is not None
    config = made(CONFIGMAPS, data={"a": ""}, binaryData={"b": "", "c": ""})
    assert CONFIGMAPS.cells(config) == ("x", 3, Age(NOW))
    assert SECRETS.cells(made(SECRETS, data={"a": ""})) == ("x", "Opaque", 1, Age(NOW))
    assert len(SERVICEACCOUNTS.columns) == 2
