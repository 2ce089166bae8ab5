"""Admission webhooks, with a far end that the test makes up: when and what they are asked."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from minikube_py.api.autoscaling import HORIZONTALPODAUTOSCALERS
from minikube_py.api.core import PODS
from minikube_py.api.errors import ForbiddenError
from minikube_py.server.admission.validating_webhook import ValidatingAdmissionWebhook
from minikube_py.server.admission.webhook_set import WebhookSet
from minikube_py.server.attributes import User
from minikube_py.server.webhook.client import Target
from tests.unit.server.admission.webhooks import (
    SCHEME,
    FarEnd,
    allow,
    ask,
    calls,
    configuration,
    deny,
    hook,
    mutating,
    refusal,
    validating,
)

Listing = Callable[..., Any]
Reply = Callable[[dict[str, Any]], Mapping[str, Any]]


# What is asked


async def test_nothing_is_asked_where_nothing_is_configured(listing: Listing) -> None:
    far = FarEnd()
    admission = ask()
    assert await mutating(listing, far).admit(admission) is admission.obj
    assert await validating(listing, far).validate(admission) == ()
    assert far.asked == []


async def test_a_review_tells_all_of_the_request(listing: Listing) -> None:
    far = FarEnd(a=allow)
    plugin = validating(listing, far, configuration("c", hook("h", "a", timeoutSeconds=7)))
    options = {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
    user = User("u", ("g",), "id", {"scopes": ("all",)})
    await plugin.validate(ask(user=user, options=options, dry_run=True))
    (_, request), *_ = far.asked
    uid = request.pop("uid")
    assert len(uid) == 36
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request == {
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": "x",
        "namespace": "a",
        "operation": "CREATE",
        "userInfo": {
            "username": "u",
            "uid": "id",
            "groups": ["g"],
            "extra": {"scopes": ["all"]},
        },
        "object": {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {"name": "x", "namespace": "a"},
            "data": {"a": "b"},
        },
        "oldObject": None,
        "dryRun": True,
        "options": options,
    }
    assert far.timeouts == [7]


async def test_a_subresource_is_asked_about_with_its_own_kind(listing: Listing) -> None:
    far = FarEnd(a=allow)
    plugin = validating(listing, far, configuration("c", hook("h", "a")))
    eviction = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "x"}}
    await plugin.validate(ask(PODS, subresource="eviction", obj=eviction))
    request = far.asked[0][1]
    assert request["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "pods"}
    assert request["subResource"] == request["requestSubResource"] == "eviction"


async def test_a_webhook_for_another_version_sees_the_object_in_it(listing: Listing) -> None:
    far = FarEnd(a=allow)
    rules = [
        {
            "operations": ["*"],
            "apiGroups": ["autoscaling"],
            "apiVersions": ["v1"],
            "resources": ["*"],
        }
    ]
    plugin = validating(listing, far, configuration("c", hook("h", "a", rules=rules)))
    hpa = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": "x"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3},
    }
    await plugin.validate(ask(HORIZONTALPODAUTOSCALERS, obj=hpa))
    request = far.asked[0][1]
    assert request["object"]["apiVersion"] == "autoscaling/v1"
    assert request["resource"]["version"] == request["kind"]["version"] == "v1"
    assert request["requestResource"]["version"] == request["requestKind"]["version"] == "v2"


async def test_webhooks_are_asked_by_the_names_of_their_configurations(listing: Listing) -> None:
    far = FarEnd(a=allow, b=allow, c=allow)
    second = configuration("z", hook("a", "c"))
    first = configuration("y", hook("z", "a"), hook("m", "b"))
    await mutating(listing, far, second, first).admit(ask())
    assert far.names == ["a", "b", "c"]


async def test_a_change_of_the_configuration_counts_at_once(listing: Listing) -> None:
    far = FarEnd(a=allow)
    configurations = listing(configuration("c", hook("h", "a")))
    webhooks = WebhookSet(configurations, lambda client: Target(client["url"]))
    first = webhooks.active()
    assert webhooks.active() is first
    configurations.put(configuration("d", hook("i", "a")))
    assert [w.name for w in webhooks.active()] == ["h", "i"]
    assert webhooks.active()[0] is first[0]
    configurations.remove("", "c")
    assert [w.name for w in webhooks.active()] == ["i"]
    assert far.asked == []


async def test_what_configures_admission_is_not_asked_about(listing: Listing) -> None:
    far = FarEnd(a=deny)
    kind = next(r for r in SCHEME if r.kind == "ValidatingWebhookConfiguration")
    assert (
        await validating(listing, far, configuration("c", hook("h", "a"))).validate(ask(kind)) == ()
    )


async def test_the_server_is_not_kept_from_starting_by_webhooks(listing: Listing) -> None:
    far, states = FarEnd(a=deny), [True, True, False]
    one = configuration("c", hook("h", "a"))
    plugin = ValidatingAdmissionWebhook(calls(listing, far, one, starting=lambda: states.pop(0)))
    own = ask(user=User("system:apiserver", ("system:masters",)))
    assert await plugin.validate(own) == ()
    await refusal(plugin, ask())
    assert await plugin.validate(own) == ()
    assert len(far.asked) == 1
    await refusal(plugin, own)


# Conditions


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("request.name == 'x'", True),
        ("request.name != 'x'", False),
        ("object.data.a == 'b' && oldObject == null", True),
        ("authorizer.group('').resource('pods').check('get').allowed()", True),
        ("'g' in request.userInfo.groups && request.operation == 'CREATE'", True),
    ],
)
async def test_match_conditions_decide_whether_a_webhook_is_asked(
    listing: Listing, expression: str, *, asked: bool
) -> None:
    far = FarEnd(a=allow)
    conditions = [{"name": "one", "expression": expression}]
    plugin = validating(
        listing, far, configuration("c", hook("h", "a", matchConditions=conditions))
    )
    await plugin.validate(ask())
    assert bool(far.asked) is asked


async def test_a_condition_that_fails_follows_the_failure_policy(listing: Listing) -> None:
    far = FarEnd(a=deny)
    conditions = [{"name": "one", "expression": "object.data.nope == 'x'"}]
    closed = hook("h", "a", matchConditions=conditions)
    error = await refusal(validating(listing, far, configuration("c", closed)), ask())
    assert isinstance(error, ForbiddenError)
    assert error.message == (
        "configmaps \"x\" is forbidden: expression 'object.data.nope == 'x'' resulted in error: "
        "no such key: nope"
    )
    opened = {**closed, "failurePolicy": "Ignore"}
    assert await validating(listing, far, configuration("c", opened)).validate(ask()) == ()
    assert far.asked == []


async def test_a_condition_that_is_false_outweighs_one_that_fails(listing: Listing) -> None:
    far = FarEnd(a=deny)
    conditions = [
        {"name": "one", "expression": "object.data.nope == 'x'"},
        {"name": "two", "expression": "false"},
    ]
    plugin = validating(
        listing, far, configuration("c", hook("h", "a", matchConditions=conditions))
    )
    assert await plugin.validate(ask()) == ()
