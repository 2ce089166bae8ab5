"""Admission policies: what they cost, say, note and change, request by request."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from minikube_py.api.core import CONFIGMAPS, NAMESPACES
from minikube_py.api.errors import StatusError
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Obj
from minikube_py.api.scheme import Scheme
from minikube_py.server.admission import validating_policy
from minikube_py.server.admission.matching import Matcher
from minikube_py.server.admission.mutating_policy import MutatingAdmissionPolicy
from minikube_py.server.admission.policy_params import Params
from minikube_py.server.admission.policy_set import PolicySet
from minikube_py.server.admission.validating_policy import ValidatingAdmissionPolicy
from minikube_py.server.attributes import Admission, Attributes, Decision
from tests.frozen import freeze
from tests.unit.server.admission.acting import ADMIN, run, write

Listing = Callable[..., Any]
SCHEME = Scheme(BUILTIN)
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
NONE_FOUND = (
    "failed to configure binding: no params found for policy binding with `Deny` "
    "parameterNotFoundAction"
)
FAILURE = "validation.policy.admission.k8s.io/validation_failure"


class Rights:
    """Allows to delete; remembers the questions, and in which thread they were asked."""

    def __init__(self) -> None:
        self.asked: list[Attributes] = []
        self.threads: set[int] = set()

    def authorize(self, attributes: Attributes) -> Decision:
        self.asked.append(attributes)
        self.threads.add(threading.get_ident())
        return Decision(attributes.verb == "delete", reason="because")


def policy(name: str, **spec: Any) -> Obj:
    spec = {"matchConstraints": {"resourceRules": [RULE]}, **spec}
    made: Obj = freeze({"metadata": {"name": name}, "spec": spec})
    return made


def binding(name: str, of: str, *actions: str, **spec: Any) -> Obj:
    spec = {"policyName": of, "validationActions": list(actions) or ["Deny"], **spec}
    made: Obj = freeze({"metadata": {"name": name}, "spec": spec})
    return made


def configmap(name: str = "x", **data: str) -> dict[str, Any]:
    metadata = {"namespace": "a", "name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


class Cluster:
    """The caches that policies are asked from."""

    def __init__(self, listing: Listing, *params: Obj) -> None:
        self.policies, self.bindings = listing(), listing()
        self.configmaps = listing(*params)
        self.rights = Rights()
        namespaces = listing({"metadata": {"name": "a", "labels": {"team": "red"}}})
        matcher = Matcher(SCHEME, namespaces)
        found = Params(SCHEME, {CONFIGMAPS: self.configmaps, NAMESPACES: namespaces}.get)
        kinds = self.policies, self.bindings
        self.validating = ValidatingAdmissionPolicy(matcher, found, self.rights, kinds)
        self.mutating = MutatingAdmissionPolicy(matcher, found, self.rights, kinds)

    def install(self, *actions: str, reference: Any = None, **spec: Any) -> None:
        """Put the policy p and its binding b in force."""
        self.policies.put(policy("p", **spec))
        more = {"paramRef": reference} if reference else {}
        self.bindings.put(binding("b", "p", *actions, **more))

    async def refusal(self, admission: Admission) -> StatusError:
        with pytest.raises(StatusError) as caught:
            await run(self.validating, admission)
        return caught.value


@pytest.fixture
def cluster(listing: Listing) -> Cluster:
    return Cluster(listing)


def rule(text: str, **more: Any) -> list[Mapping[str, Any]]:
    return [{"expression": text, **more}]


def annotations(admission: Admission) -> dict[str, Any]:
    return admission.annotations.at("Request")


# What is in force


async def test_without_policies_a_request_is_not_even_looked_at(cluster: Cluster) -> None:
    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    assert await cluster.validating.validate(Untouched()) == ()  # type: ignore[arg-type]


def test_a_policy_is_compiled_once_as_long_as_it_stays(listing: Listing) -> None:
    policies, bindings, compiled = listing(), listing(), []

    def compile_policy(obj: Obj) -> Any:
        compiled.append(obj["metadata"]["name"])
        return validating_policy.compiled_policy(obj)

    found = PolicySet(policies, bindings, compile_policy=compile_policy)
    policies.put(policy("p", validations=rule("true")))
    policies.put(policy("unbound", validations=rule("true")))
    assert found.active() == ()
    bindings.put(binding("b", "p"))
    bindings.put(binding("a", "p"))
    (bound,) = found.active()
    assert [each.name for each in bound.bindings] == ["a", "b"]
    bindings.put(binding("c", "p"))
    assert found.active()[0].policy is bound.policy
    assert compiled == ["p"]
    policies.put(policy("p", validations=rule("false")))
    assert found.active()[0].policy is not bound.policy
    assert compiled == ["p", "p"]
    bindings.remove("", "a")
    bindings.remove("", "b")
    bindings.remove("", "c")
    assert found.active() == ()


# What it says


@pytest.mark.parametrize(
    ("more", "text", "code"),
    [
        ({}, "failed expression: object.data.size() > 1", 422),
        ({"message": " too few "}, "too few", 422),
        ({"messageExpression": "'has ' + string(object.data.size())"}, "has 0", 422),
        ({"messageExpression": "object.nope", "message": "else"}, "else", 422),
        ({"messageExpression": "'two\\nlines'", "message": "else"}, "else", 422),
        ({"messageExpression": "' '"}, "failed expression: object.data.size() > 1", 422),
        ({"reason": "Forbidden", "message": "no"}, "no", 403),
        ({"reason": "RequestEntityTooLarge", "message": "no"}, "no", 413),
        ({"reason": "Unauthorized", "message": "no"}, "no", 401),
    ],
)
async def test_a_broken_rule_refuses_in_its_words(
    cluster: Cluster, more: Any, text: str, code: int
) -> None:
    cluster.install(validations=rule("object.data.size() > 1", **more))
    error = await cluster.refusal(write(CONFIGMAPS, configmap()))
    assert error.code == code
    assert error.reason == more.get("reason", "Invalid")
    assert error.message == (
        "configmaps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied "
        f"request: {text}"
    )
    await run(cluster.validating, write(CONFIGMAPS, configmap(a="1", b="2")))


async def test_a_binding_may_warn_and_note_what_is_wrong(cluster: Cluster) -> None:
    cluster.install("Warn", "Audit", validations=[*rule("true"), *rule("false", message="no")])
    admission = write(CONFIGMAPS, configmap())
    await run(cluster.validating, admission)
    assert admission.warnings == [
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no"
    ]
    assert orjson.loads(annotations(admission)[FAILURE]) == [
        {
            "message": "no",
            "policy": "p",
            "binding": "b",
            "expressionIndex": 1,
            "validationActions": ["Warn", "Audit"],
        }
    ]


async def test_a_policy_tells_the_audit_log_what_it_was_asked_to(cluster: Cluster) -> None:
    told = {"who": "request.userInfo.username", "nothing": "null", "blank": "' '"}
    notes = [{"key": key, "valueExpression": text} for key, text in told.items()]
    cluster.install(auditAnnotations=notes)
    admission = write(CONFIGMAPS, configmap())
    await run(cluster.validating, admission)
    assert annotations(admission) == {"p/who": "admin"}


async def test_the_first_denial_by_name_is_told(cluster: Cluster) -> None:
    for name in ("q", "o", "p"):
        cluster.policies.put(policy(name, validations=rule("false", message=name)))
        cluster.bindings.put(binding(name, name))
    error = await cluster.refusal(write(CONFIGMAPS, configmap()))
    assert error.message.endswith(
        "ValidatingAdmissionPolicy 'o' with binding 'o' denied request: o"
    )


# What goes wrong


@pytest.mark.parametrize(
    "text",
    ["object.nope == 1", "params.nope == 1", "variables.bad == 1", "1 / object.data.size() == 1"],
)
async def test_an_error_refuses_unless_the_policy_passes_over_it(
    cluster: Cluster, text: str
) -> None:
    variables = [{"name": "bad", "expression": "object.nope"}]
    cluster.install(validations=rule(text), variables=variables)
    error = await cluster.refusal(write(CONFIGMAPS, configmap()))
    assert "denied request: " in error.message
    cluster.install(validations=rule(text), variables=variables, failurePolicy="Ignore")
    await run(cluster.validating, write(CONFIGMAPS, configmap()))


async def test_a_stored_expression_that_does_not_compile_is_an_error(cluster: Cluster) -> None:
    cluster.install(validations=rule("object.size("))
    error = await cluster.refusal(write(CONFIGMAPS, configmap()))
    assert "denied request: compilation error: " in error.message


@pytest.mark.parametrize(
    ("conditions", "asked"),
    [
        (["true", "true"], True),
        (["true", "false"], False),
        (["object.nope", "false"], False),
    ],
)
async def test_a_policy_is_for_what_meets_all_its_conditions(
    cluster: Cluster, conditions: list[str], *, asked: bool
) -> None:
    listed = [{"name": str(at), "expression": text} for at, text in enumerate(conditions)]
    cluster.install(validations=rule("false"), matchConditions=listed)
    if asked:
        await cluster.refusal(write(CONFIGMAPS, configmap()))
    else:
        await run(cluster.validating, write(CONFIGMAPS, configmap()))


async def test_variables_are_worked_out_once_when_they_are_asked_for(cluster: Cluster) -> None:
    check = "authorizer.requestResource.check('delete').allowed()"
    variables = [
        {"name": "may", "expression": check},
        {"name": "both", "expression": "variables.may && variables.may"},
        {"name": "idle", "expression": "authorizer.requestResource.check('get').allowed()"},
    ]
    cluster.install(validations=rule("variables.both && variables.may"), variables=variables)
    await run(cluster.validating, write(CONFIGMAPS, configmap()))
    (question,) = cluster.rights.asked
    assert (question.user, question.verb, question.resource) == (ADMIN, "delete", "configmaps")
    assert (question.namespace, question.name) == ("a", "x")


async def test_what_takes_long_leaves_the_loop_free_and_asks_it(cluster: Cluster) -> None:
    loop = "[1,2,3,4,5,6,7,8,9].all(a, " * 5
    check = "authorizer.requestResource.check('delete').allowed()"
    cluster.install(validations=rule(f"{loop} true {')' * 5} && {check}"))
    asking = asyncio.ensure_future(run(cluster.validating, write(CONFIGMAPS, configmap())))
    turns = 0
    while not asking.done():
        turns += 1
        await asyncio.sleep(0)
    await asking
    assert turns > 2
    assert cluster.rights.threads == {threading.get_ident()}


# With what


def reference(**more: Any) -> dict[str, Any]:
    return {"parameterNotFoundAction": "Deny", **more}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (reference(name="limits"), "x is not p"),
        (reference(name="limits", namespace="b"), "x is not q"),
        (reference(selector={"matchLabels": {"use": "yes"}}), "x is not p"),
        (
            reference(name="none"),
            NONE_FOUND,
        ),
    ],
)
async def test_params_are_found_by_name_or_by_labels(
    listing: Listing, given: Any, text: str
) -> None:
    params: list[Obj] = [
        {"metadata": {"namespace": "a", "name": "limits", "labels": {"use": "yes"}},
         "data": {"only": "p"}},
        {"metadata": {"namespace": "b", "name": "limits"}, "data": {"only": "q"}},
    ]  # fmt: skip
    cluster = Cluster(listing, *params)
    cluster.install(
        reference=given,
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        validations=rule(
            "object.metadata.name == params.data.only",
            messageExpression="object.metadata.name + ' is not ' + params.data.only",
        ),
    )
    error = await cluster.refusal(write(CONFIGMAPS, configmap()))
    assert error.message.endswith(text)


async def test_missing_params_may_be_allowed(cluster: Cluster) -> None:
    cluster.install(
        reference={"name": "none", "parameterNotFoundAction": "Allow"},
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        validations=rule("false"),
    )
    await run(cluster.validating, write(CONFIGMAPS, configmap()))


# Changing


def change(text: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": text}}


async def test_changes_build_on_one_another(cluster: Cluster) -> None:
    first = change("[JSONPatch{op: 'add', path: '/data/a', value: '1'}]")
    second = {
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{data: {'b': object.data.a + '2'}}"},
    }
    cluster.install(mutations=[first, second], reinvocationPolicy="Never")
    admitted = await run(cluster.mutating, write(CONFIGMAPS, configmap(z="0")))
    assert admitted["data"] == {"z": "0", "a": "1", "b": "12"}


async def test_a_change_that_fails_refuses_unless_the_policy_passes_over_it(
    cluster: Cluster,
) -> None:
    broken = change("[JSONPatch{op: 'remove', path: '/data/nope'}]")
    cluster.install(mutations=[broken], reinvocationPolicy="Never")
    with pytest.raises(StatusError) as caught:
        await run(cluster.mutating, write(CONFIGMAPS, configmap(z="0")))
    assert caught.value.message.startswith("policy 'p' with binding 'b' denied request: ")
    cluster.install(mutations=[broken], reinvocationPolicy="Never", failurePolicy="Ignore")
    admitted = await run(cluster.mutating, write(CONFIGMAPS, configmap(z="0")))
    assert admitted["data"] == {"z": "0"}
