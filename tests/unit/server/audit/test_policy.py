"""Audit policies: which rule decides, and what is refused."""

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.server.apiserver.request import parse
from minikube_py.server.attributes import User
from minikube_py.server.audit.default_policy import DOCUMENT, default_policy
from minikube_py.server.audit.policy import compile_policy, load, problems

JANE = User("jane", ("system:authenticated", "dev"))
NODE = User("system:node:a", ("system:nodes", "system:authenticated"))
MANAGER = User("system:kube-controller-manager", ("system:authenticated",))
PODS = "/api/v1/namespaces/a/pods"


def policy(*rules, **more):
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}
    assert not list(problems(document))
    return compile_policy(document)


def level(rule, user, method, path):
    decided = policy({"level": "Request", **rule}).decide(user, parse(method, path, {}))
    return decided.level


@pytest.mark.parametrize(
    ("rule", "method", "path", "matches"),
    [
        ({}, "GET", "/version", True),
        ({"users": ["jane"]}, "GET", PODS, True),
        ({"users": ["joe"]}, "GET", PODS, False),
        ({"userGroups": ["dev", "ops"]}, "GET", PODS, True),
        ({"userGroups": ["ops"]}, "GET", PODS, False),
        ({"verbs": ["list"]}, "GET", PODS, True),
        ({"verbs": ["create"]}, "GET", PODS, False),
        ({"namespaces": ["a"]}, "GET", PODS, True),
        ({"namespaces": ["b"]}, "GET", PODS, False),
        ({"namespaces": [""]}, "GET", "/api/v1/nodes", True),
        ({"namespaces": [""]}, "GET", "/version", False),
        ({"resources": [{"group": ""}]}, "GET", PODS, True),
        ({"resources": [{"group": "apps"}]}, "GET", PODS, False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, "GET", f"{PODS}/x", True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, "GET", f"{PODS}/x/log", False),
        ({"resources": [{"group": "", "resources": ["pods/log"]}]}, "GET", f"{PODS}/x/log", True),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, "GET", f"{PODS}/x/log", True),
        ({"resources": [{"group": "", "resources": ["*/log"]}]}, "GET", f"{PODS}/x/log", True),
        ({"resources": [{"group": "", "resources": ["*/log"]}]}, "GET", f"{PODS}/x", False),
        ({"resources": [{"group": "", "resources": ["*"]}]}, "GET", f"{PODS}/x/log", True),
        (
            {"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["x"]}]},
            "GET",
            f"{PODS}/x",
            True,
        ),
        (
            {"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["x"]}]},
            "GET",
            f"{PODS}/y",
            False,
        ),
        ({"nonResourceURLs": ["/version"]}, "GET", "/version", True),
        ({"nonResourceURLs": ["/healthz*"]}, "GET", "/healthz/ping", True),
        ({"nonResourceURLs": ["/version"]}, "GET", "/metrics", False),
        ({"nonResourceURLs": ["*"]}, "GET", PODS, False),
    ],
)
def test_a_rule_is_about_what_all_its_fields_say(rule, method, path, matches):
    assert level(rule, JANE, method, path) == ("Request" if matches else "None")


def test_the_first_rule_that_matches_decides_and_nothing_is_kept_where_none_does():
    rules = ({"level": "Metadata", "users": ["jane"]}, {"level": "Request", "verbs": ["list"]})
    both, info = policy(*rules), parse("GET", PODS, {})
    assert both.decide(JANE, info).level == "Metadata"
    assert both.decide(NODE, info).level == "Request"
    assert both.decide(None, info).level == "Request"
    assert both.decide(NODE, parse("POST", PODS, {})).level == "None"


def test_stages_left_out_add_up_and_a_rule_has_its_own_word_on_managed_fields():
    rules = (
        {"level": "Metadata", "users": ["jane"], "omitStages": ["Panic"]},
        {"level": "Request", "omitManagedFields": False},
    )
    both = policy(*rules, omitStages=["RequestReceived"], omitManagedFields=True)
    first, second = (
        both.decide(JANE, parse("GET", PODS, {})),
        both.decide(None, parse("GET", PODS, {})),
    )
    assert first.omit_stages == {"Panic", "RequestReceived"}
    assert (first.omit_managed_fields, second.omit_managed_fields) == (True, False)


HEAD = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}
RULE = {"level": "Metadata"}


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        (None, "no document of kind Policy"),
        ({"kind": "Policy", "rules": [RULE]}, "apiVersion"),
        ({**HEAD, "rules": []}, "0 rules"),
        ({**HEAD, "rules": [{"level": "Everything"}]}, "Unsupported value"),
        ({**HEAD, "rules": [{**RULE, "verb": ["get"]}]}, "unknown field"),
        ({**HEAD, "rules": [{**RULE, "verbs": [1]}]}, "list of texts"),
        ({**HEAD, "rules": [{**RULE, "omitStages": ["Never"]}]}, "Unsupported value"),
        ({**HEAD, "rules": [{**RULE, "nonResourceURLs": ["x"]}]}, "no path"),
        ({**HEAD, "rules": [{**RULE, "nonResourceURLs": ["/a*b"]}]}, "no path"),
        (
            {**HEAD, "rules": [{**RULE, "nonResourceURLs": ["/a"], "namespaces": ["b"]}]},
            "cannot apply to both",
        ),
        ({**HEAD, "rules": [{**RULE, "resources": ["pods"]}]}, "list of maps"),
        (
            {**HEAD, "rules": [{**RULE, "resources": [{"resourceNames": ["a"]}]}]},
            "requires at least one resource",
        ),
        ({**HEAD, "rules": ["x"]}, "no map"),
    ],
)
def test_a_policy_that_is_not_right_is_told_what_is_wrong(document, wrong):
    assert any(wrong in problem for problem in problems(document))


def test_a_policy_is_read_from_a_file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n")
    assert load(str(path)).decide(JANE, parse("GET", PODS, {})).level == "Metadata"


@pytest.mark.parametrize("text", [None, "a: [", "kind: Policy", "a: &a [*a]"])
def test_a_file_that_is_no_policy_keeps_the_server_from_starting(tmp_path, text):
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartError, match="audit policy"):
        load(str(path))


@pytest.mark.parametrize(
    ("user", "method", "path", "kept"),
    [
        (JANE, "POST", PODS, "Metadata"),
        (JANE, "DELETE", f"{PODS}/x", "Metadata"),
        (JANE, "GET", PODS, "None"),
        (JANE, "GET", "/api/v1/namespaces/a/secrets", "Metadata"),
        (JANE, "PUT", "/api/v1/namespaces/a/secrets/x", "Metadata"),
        (JANE, "POST", f"{PODS}/x/exec", "Metadata"),
        (JANE, "GET", f"{PODS}/x/exec", "Metadata"),
        (JANE, "GET", f"{PODS}/x/log", "None"),
        (JANE, "POST", "/api/v1/namespaces/a/events", "None"),
        (JANE, "PATCH", f"{PODS}/x/status", "Metadata"),
        (JANE, "GET", "/version", "None"),
        (JANE, "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "None"),
        (NODE, "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a", "None"),
        (NODE, "PATCH", "/api/v1/nodes/a/status", "None"),
        (NODE, "PATCH", f"{PODS}/x/status", "None"),
        (NODE, "GET", "/api/v1/namespaces/a/secrets/x", "None"),
        (NODE, "POST", "/api/v1/namespaces/a/serviceaccounts/x/token", "None"),
        (NODE, "DELETE", f"{PODS}/x", "Metadata"),
        (MANAGER, "POST", PODS, "Metadata"),
        (MANAGER, "PUT", "/apis/apps/v1/namespaces/a/deployments/x/status", "None"),
        (MANAGER, "PUT", "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices/x", "None"),
        (None, "GET", PODS, "None"),
        (None, "DELETE", f"{PODS}/x", "Metadata"),
    ],
)
def test_the_default_policy_keeps_changes_and_looks_at_secrets_but_no_routine(
    user, method, path, kept
):
    assert default_policy().decide(user, parse(method, path, {})).level == kept


def test_the_default_policy_is_a_policy_that_keeps_no_bodies():
    assert not list(problems(DOCUMENT))
    assert {rule["level"] for rule in DOCUMENT["rules"]} == {"None", "Metadata"}
