"""Which flow schema a request falls under."""

import pytest

from minikube_py.server.apiserver.request import parse
from minikube_py.server.attributes import User
from minikube_py.server.bootstrap_flowcontrol import flow_schemas
from minikube_py.server.flowcontrol.matching import (
    compile_schema,
    in_order,
    with_mandatory_levels,
)

LEVELS = with_mandatory_levels(
    [
        {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": {}}}
        for name in (
            *("leader-election", "node-high", "system"),
            *("workload-high", "workload-low", "global-default"),
        )
    ]
)
SCHEMAS = in_order(flow_schemas(), LEVELS)
ADMIN = User("admin", ("system:masters", "system:authenticated"))
NODE = User("system:node:a", ("system:nodes", "system:authenticated"))
SCHEDULER = User("system:kube-scheduler", ("system:authenticated",))
ACCOUNTS = ("system:serviceaccounts", "system:authenticated")
DNS = User("system:serviceaccount:kube-system:dns", ACCOUNTS)
WEB = User("system:serviceaccount:web:web", ACCOUNTS)
PERSON = User("jane", ("system:authenticated",))
STRANGER = User("system:anonymous", ("system:unauthenticated",))
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a"


@pytest.mark.parametrize(
    ("user", "method", "path", "schema"),
    [
        (ADMIN, "GET", "/api/v1/pods", "exempt"),
        (STRANGER, "GET", "/healthz", "probes"),
        (STRANGER, "GET", "/healthz/ping", "global-default"),
        (NODE, "PUT", LEASES, "system-node-high"),
        (NODE, "PATCH", "/api/v1/nodes/a/status", "system-node-high"),
        (NODE, "GET", "/api/v1/namespaces/a/pods/b", "system-nodes"),
        (SCHEDULER, "PUT", LEASES, "system-leader-election"),
        (SCHEDULER, "PATCH", LEASES, "kube-scheduler"),
        (DNS, "GET", LEASES, "system-leader-election"),
        (DNS, "GET", "/api/v1/services", "kube-system-service-accounts"),
        (WEB, "GET", "/api/v1/services", "service-accounts"),
        (PERSON, "GET", "/api/v1/services", "global-default"),
        (PERSON, "GET", "/version", "global-default"),
        (User("nobody"), "GET", "/version", None),
    ],
)
def test_a_request_falls_under_the_first_schema_that_matches(user, method, path, schema):
    info = parse(method, path, {})
    found = next((one.name for one in SCHEMAS if one.matches(user, info)), None)
    assert found == schema


def rule(subjects, resources=(), paths=()):
    return {
        "metadata": {"name": "mine", "uid": "u"},
        "spec": {
            "priorityLevelConfiguration": {"name": "system"},
            "matchingPrecedence": 500,
            "rules": [
                {"subjects": subjects, "resourceRules": resources, "nonResourceRules": paths}
            ],
        },
    }


EVERYBODY = [{"kind": "User", "user": {"name": "*"}}]
PODS = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/status"]}


@pytest.mark.parametrize(
    ("resources", "path", "matches"),
    [
        ({**PODS, "namespaces": ["a"]}, "/api/v1/namespaces/a/pods/x", True),
        ({**PODS, "namespaces": ["a"]}, "/api/v1/namespaces/b/pods/x", False),
        ({**PODS, "namespaces": ["*"]}, "/api/v1/namespaces/b/pods/x/status", True),
        ({**PODS, "namespaces": ["*"]}, "/api/v1/namespaces/b/pods/x/log", False),
        ({**PODS, "namespaces": ["*"]}, "/apis/apps/v1/namespaces/b/pods/x", False),
        ({**PODS, "clusterScope": True}, "/api/v1/namespaces/b/pods/x", False),
        (
            {**PODS, "verbs": ["list"], "clusterScope": True},
            "/api/v1/pods",
            True,
        ),
        ({**PODS, "verbs": ["list"], "namespaces": ["*"]}, "/api/v1/pods", False),
        (
            {**PODS, "resources": ["*"], "namespaces": ["*"]},
            "/api/v1/namespaces/b/pods/x/log",
            True,
        ),
    ],
)
def test_a_resource_rule_looks_at_verb_group_resource_and_namespace(resources, path, matches):
    schema = compile_schema(rule(EVERYBODY, [resources]))
    assert schema.matches(PERSON, parse("GET", path, {})) is matches


@pytest.mark.parametrize(
    ("urls", "path", "matches"),
    [
        (["/version"], "/version", True),
        (["/version"], "/version/x", False),
        (["/logs/*"], "/logs/a/b", True),
        (["/logs/*"], "/logsx", False),
        (["*"], "/anything", True),
    ],
)
def test_a_path_rule_may_end_in_a_star(urls, path, matches):
    schema = compile_schema(rule(EVERYBODY, (), [{"verbs": ["*"], "nonResourceURLs": urls}]))
    assert schema.matches(PERSON, parse("GET", path, {})) is matches


@pytest.mark.parametrize(
    ("subject", "user", "matches"),
    [
        ({"kind": "Group", "group": {"name": "*"}}, PERSON, True),
        ({"kind": "Group", "group": {"name": "system:nodes"}}, NODE, True),
        ({"kind": "User", "user": {"name": "jane"}}, PERSON, True),
        ({"kind": "User", "user": {"name": "joe"}}, PERSON, False),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "web", "name": "web"}}, WEB, 1),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "web", "name": "*"}}, WEB, 1),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "we", "name": "*"}}, WEB, 0),
    ],
)
def test_subjects_are_users_groups_and_service_accounts(subject, user, matches):
    paths = [{"verbs": ["get"], "nonResourceURLs": ["*"]}]
    schema = compile_schema(rule([subject], (), paths))
    assert schema.matches(user, parse("GET", "/version", {})) is bool(matches)


def test_precedence_orders_schemas_and_a_missing_level_takes_its_schema_out():
    mine = rule(EVERYBODY, (), [{"verbs": ["*"], "nonResourceURLs": ["*"]}])
    names = [schema.name for schema in in_order([*flow_schemas(), mine], LEVELS)]
    assert names.index("mine") == names.index("system-nodes") - 1  # equal ones by name
    without = {name: level for name, level in LEVELS.items() if name != "system"}
    assert "mine" not in [schema.name for schema in in_order([mine], without)]


def test_the_mandatory_schemas_are_there_where_nobody_has_stored_any():
    assert [schema.name for schema in in_order([], with_mandatory_levels([]))] == [
        "exempt",
        "catch-all",
    ]


def test_flows_are_told_apart_by_user_by_namespace_or_not_at_all():
    by_name = {schema.name: schema for schema in SCHEMAS}
    info = parse("GET", "/api/v1/namespaces/a/pods/b", {})
    assert by_name["global-default"].flow(PERSON, info) == "jane"
    assert by_name["kube-scheduler"].flow(SCHEDULER, info) == "a"
    assert by_name["exempt"].flow(ADMIN, info) == ""
