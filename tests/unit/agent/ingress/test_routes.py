"""Rules of ingresses as one table: hosts, paths and who has what when two claim the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.ingress.backends import Address, endpoints_of
from minikube_py.agent.ingress.routes import EMPTY, Route, Table, table_of
from minikube_py.agent.proxy.endpoints import Node


def path(text: str, service: str, kind: str = "Prefix") -> dict[str, Any]:
    backend = {"service": {"name": service, "port": {"number": 80}}}
    return {"path": text, "pathType": kind, "backend": backend}


def ingress(name: str, *rules: tuple[str, list[dict[str, Any]]], **spec: Any) -> dict[str, Any]:
    made = [{"host": host, "http": {"paths": paths}} for host, paths in rules]
    return {
        "metadata": {"namespace": "x", "name": name, "creationTimestamp": spec.pop("at", "")},
        "spec": {"rules": made, **spec},
    }


def service_at(table: Table, host: str, at: str) -> str:
    route = table.find(host, at)
    return route.backend.service if route is not None else ""


@pytest.mark.parametrize(
    ("rule", "kind", "request_path", "matches"),
    [  # the table of the Ingress documentation, "Examples"
        ("/", "Prefix", "/any", True),
        ("/foo", "Exact", "/foo", True),
        ("/foo", "Exact", "/bar", False),
        ("/foo", "Exact", "/foo/", False),
        ("/foo/", "Exact", "/foo", False),
        ("/foo", "Prefix", "/foo", True),
        ("/foo", "Prefix", "/foo/", True),
        ("/foo/", "Prefix", "/foo", True),
        ("/foo/", "Prefix", "/foo/", True),
        ("/aaa/bb", "Prefix", "/aaa/bbb", False),
        ("/aaa/bbb", "Prefix", "/aaa/bbb", True),
        ("/aaa/bbb/", "Prefix", "/aaa/bbb", True),
        ("/aaa/bbb", "Prefix", "/aaa/bbb/", True),
        ("/aaa/bbb", "Prefix", "/aaa/bbb/ccc", True),
        ("/aaa/bbb", "Prefix", "/aaa/bbbxyz", False),
        ("/foo", "Prefix", "/FOO", False),
        ("", "ImplementationSpecific", "/any", True),
    ],
)
def test_paths_match_as_the_documentation_says(
    rule: str, kind: str, request_path: str, *, matches: bool
) -> None:
    table = table_of([ingress("i", ("a.b", [path(rule, "web", kind)]))])
    assert service_at(table, "a.b", request_path) == ("web" if matches else "")


def test_the_longest_path_wins_and_an_exact_one_before_a_prefix() -> None:
    paths = [path("/", "root"), path("/aaa", "prefix"), path("/aaa", "exact", "Exact")]
    table = table_of([ingress("i", ("a.b", [*paths, path("/aaa/bbb", "long")]))])
    found = [service_at(table, "a.b", at) for at in ("/", "/aaa", "/aaa/", "/aaa/bbb/c", "/b")]
    assert found == ["root", "exact", "prefix", "long", "root"]


def test_a_host_itself_wins_before_its_wildcard_and_that_before_any_host() -> None:
    every = [path("/", "any")]
    table = table_of([
        ingress("any", ("", every)),
        ingress("wild", ("*.foo.com", [path("/", "wild")])),
        ingress("own", ("bar.foo.com", [path("/only", "own")])),
    ])  # fmt: skip
    assert service_at(table, "bar.foo.com", "/only") == "own"
    assert service_at(table, "bar.foo.com", "/else") == "wild"
    assert service_at(table, "BAR.foo.com", "/only") == "own"
    assert service_at(table, "baz.bar.foo.com", "/") == "any"
    assert service_at(table, "foo.com", "/") == "any"


def test_of_two_that_claim_the_same_the_older_has_it() -> None:
    old = ingress("z", ("a.b", [path("/", "old")]), at="2024-01-01T00:00:00Z")
    new = ingress("a", ("a.b", [path("/", "new")]), at="2025-01-01T00:00:00Z")
    assert service_at(table_of([new, old]), "a.b", "/") == "old"


def test_what_no_rule_matches_goes_to_the_default_backend() -> None:
    backend = {"service": {"name": "fallback", "port": {"name": "http"}}}
    table = table_of([ingress("i", ("a.b", [path("/x", "web")]), defaultBackend=backend)])
    assert service_at(table, "a.b", "/y") == "fallback"
    assert service_at(table, "other", "/") == "fallback"
    assert service_at(table_of([ingress("i", ("a.b", [path("/x", "web")]))]), "other", "/") == ""


def test_a_backend_that_is_no_service_keeps_its_path_and_leads_nowhere() -> None:
    resource = {"resource": {"apiGroup": "x.y", "kind": "Bucket", "name": "b"}}
    rule = ("a.b", [{**path("/files", ""), "backend": resource}, path("/", "web")])
    table = table_of([ingress("i", rule)])
    route = table.find("a.b", "/files/1")
    assert route is not None
    assert endpoints_of(None, [], route.backend.port, Node(name="n")) == []
    assert service_at(table, "a.b", "/other") == "web"


def test_certificates_are_for_the_hosts_that_they_name_or_else_for_those_of_the_rules() -> None:
    table = table_of([
        ingress("one", ("a.b", [path("/", "w")]), tls=[{"secretName": "s"}]),
        ingress("two", ("c.d", [path("/", "w")]), tls=[{"hosts": ["*.D"], "secretName": "t"}]),
    ])  # fmt: skip
    assert table.certificates == {"a.b": (("x", "s"),), "*.d": (("x", "t"),)}
    assert table.secrets == {("x", "s"), ("x", "t")}


def test_without_an_ingress_the_table_is_empty() -> None:
    assert table_of([]) == EMPTY


HOST = st.sampled_from(["", "a.b", "*.b", "x.a.b"])
PATH = st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab"])


@given(
    st.permutations(range(6)), st.lists(st.tuples(HOST, PATH), min_size=6, max_size=6), HOST, PATH
)
def test_the_order_in_which_ingresses_come_does_not_matter(
    order: list[int], rules: list[tuple[str, str]], host: str, at: str
) -> None:
    made = [
        ingress(f"i{number}", (host, [path(text, f"s{number}")]))
        for number, (host, text) in enumerate(rules)
    ]
    one, other = table_of(made), table_of([made[number] for number in order])
    assert one.find(host, at) == other.find(host, at)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_host_and_path_are_looked_up_without_an_error(host: str, at: str) -> None:
    table = table_of([ingress("i", ("a.b", [path("/x", "web")]))])
    assert isinstance(table.find(host, at), Route | None)


def test_a_port_is_found_by_name_or_number_and_its_ready_endpoints_are_used() -> None:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    service = {"metadata": {"name": "web"}, "spec": {"ports": ports}}
    slices = [
        {
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [
                {"addresses": ["10.42.0.5"], "conditions": {"ready": True}},
                {"addresses": ["10.42.0.6"], "conditions": {"ready": False}},
            ],
        },
        {
            "addressType": "IPv6",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": ["fd42::7"], "conditions": {"ready": True}}],
        },
    ]
    wanted = [Address("10.42.0.5", 8080), Address("fd42::7", 8080)]
    for port in ("http", 80):
        assert endpoints_of(service, slices, port, Node(name="n")) == wanted
    for port in ("https", 81, ""):
        assert endpoints_of(service, slices, port, Node(name="n")) == []
    assert endpoints_of(None, slices, 80, Node(name="n")) == []
    external = {**service, "spec": {**service["spec"], "type": "ExternalName"}}
    assert endpoints_of(external, slices, 80, Node(name="n")) == []
    assert [str(one) for one in wanted] == ["10.42.0.5:8080", "[fd42::7]:8080"]
