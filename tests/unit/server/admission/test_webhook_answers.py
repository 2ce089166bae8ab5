"""What admission webhooks answer: refusals, failures and changes."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from minikube_py.api.core import PODS
from minikube_py.api.errors import BadRequestError, InternalError
from minikube_py.api.object import Obj
from minikube_py.server.admission.validating_webhook import ValidatingAdmissionWebhook
from minikube_py.server.admission.webhook_metrics import WebhookMetrics
from minikube_py.server.attributes import Admission
from tests.frozen import freeze
from tests.unit.server.admission.webhooks import (
    FarEnd,
    allow,
    ask,
    calls,
    configuration,
    deny,
    hook,
    mutating,
    patching,
    refusal,
    setting,
    unreachable,
    validating,
)

Listing = Callable[..., Any]
Reply = Callable[[dict[str, Any]], Mapping[str, Any]]


# Refusals


@pytest.mark.parametrize(
    ("status", "message", "reason", "code"),
    [
        (None, "without explanation", "", 400),
        ({"message": "no"}, ": no", "", 400),
        ({"reason": "Forbidden"}, ": Forbidden", "Forbidden", 400),
        ({"message": "no", "reason": "Forbidden", "code": 403}, ": no", "Forbidden", 403),
        ({"message": "no", "code": 200}, ": no", "", 400),
        ({"message": "no", "code": 1000}, ": no", "", 400),
    ],
)
async def test_a_denial_is_told_as_the_webhook_words_it(
    listing: Listing, status: Any, message: str, reason: str, code: int
) -> None:
    far = FarEnd(a=lambda _request: {"allowed": False, "status": status})
    error = await refusal(validating(listing, far, configuration("c", hook("h", "a"))), ask())
    between = "" if message.startswith(":") else " "
    assert error.message == f'admission webhook "h" denied the request{between}{message}'
    assert (error.reason, error.code) == (reason, code)
    assert error.status()["status"] == "Failure"


async def test_details_of_a_denial_are_told_as_far_as_they_are_some(listing: Listing) -> None:
    causes = [{"reason": "a", "message": "b", "field": "c"}, {"reason": 1}, "text"]
    details = {"name": "n", "kind": 7, "retryAfterSeconds": "1\n", "causes": causes, "odd": {}}
    far = FarEnd(a=lambda _request: {"allowed": False, "status": {"details": details}})
    plugin = validating(listing, far, configuration("c", hook("h", "a")))
    error = await refusal(plugin, ask())
    assert error.details == {"name": "n", "causes": [causes[0]]}
    far.replies["a"] = lambda _request: {"allowed": False, "status": {"details": {
        "retryAfterSeconds": 5}}}  # fmt: skip
    assert (await refusal(plugin, ask())).details == {"retryAfterSeconds": 5}


async def test_all_validating_webhooks_are_asked_and_the_first_refusal_counts(
    listing: Listing,
) -> None:
    far = FarEnd(a=deny, b=unreachable, c=allow)
    plugin = validating(
        listing, far, configuration("c", hook("h", "c"), hook("i", "a"), hook("j", "b"))
    )
    error = await refusal(plugin, ask())
    assert error.message == 'admission webhook "i" denied the request: no'
    assert sorted(far.names) == ["a", "b", "c"]


@pytest.mark.parametrize("kind", [validating, mutating])
async def test_a_webhook_that_cannot_be_asked_refuses_or_is_passed_over(
    listing: Listing, kind: Any
) -> None:
    far = FarEnd(a=unreachable)
    error = await refusal(kind(listing, far, configuration("c", hook("h", "a"))), ask())
    assert isinstance(error, InternalError)
    what = (
        'failed calling webhook "h": failed to call webhook: Post "https://a/": '
        "dial tcp 10.0.0.1:443: connect: connection refused"
    )
    assert error.message == f"Internal error occurred: {what}"
    assert error.details == {"causes": [{"message": what}]}
    admission = ask()
    plugin = kind(listing, far, configuration("c", hook("h", "a", failurePolicy="Ignore")))
    assert await plugin.admit(admission) == admission.obj
    await plugin.validate(admission)
    noted = admission.annotations.at("Metadata")
    assert [value for key, value in noted.items() if key.startswith("failed-open.")] == ["h"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            {"kind": "AdmissionReview"},
            "received invalid webhook response: webhook response was absent",
        ),
        ({"response": {"uid": "other", "allowed": True}}, 'expected response.uid="'),
        (
            {"kind": "Pod", "apiVersion": "v1", "response": {"allowed": True}},
            "expected response.uid=",
        ),
        ({"response": []}, "cannot unmarshal array into Go struct field"),
        ({"response": {"allowed": "yes"}}, "cannot unmarshal string into Go struct field"),
        ({"response": {"warnings": [1]}}, "cannot unmarshal number into Go struct field"),
        ({"response": {"auditAnnotations": {"a": 1}}}, "cannot unmarshal number"),
        ({"response": {"patch": "*"}}, "illegal base64 data"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure(listing: Listing, answer: Any, why: str) -> None:
    far = FarEnd(a=lambda _request: answer)
    for kind in (validating, mutating):
        error = await refusal(kind(listing, far, configuration("c", hook("h", "a"))), ask())
        assert error.message.startswith('Internal error occurred: failed calling webhook "h": ')
        assert why in error.message


async def test_an_answer_of_another_kind_is_a_failure(listing: Listing) -> None:
    far = FarEnd(
        a=lambda request: {"kind": "Pod", "apiVersion": "v1", "response": {"uid": request["uid"]}}
    )
    error = await refusal(validating(listing, far, configuration("c", hook("h", "a"))), ask())
    assert error.message.endswith(
        "received invalid webhook response: expected webhook response of admission.k8s.io/v1, "
        "Kind=AdmissionReview, got /v1, Kind=Pod"
    )


async def test_an_answer_of_the_old_version_need_not_name_the_request(listing: Listing) -> None:
    far = FarEnd(a=lambda _request: {"response": {"allowed": True}})
    versions = ["v3", "v1beta1", "v1"]
    old = hook("h", "a", admissionReviewVersions=versions)
    await validating(listing, far, configuration("c", old)).validate(ask())
    unknown = hook("h", "a", admissionReviewVersions=["v3"])
    error = await refusal(validating(listing, far, configuration("c", unknown)), ask())
    assert "webhook does not accept known AdmissionReview versions (v1, v1beta1)" in error.message


async def test_a_dry_run_is_refused_by_webhooks_with_effects(listing: Listing) -> None:
    far = FarEnd(a=allow)
    some = hook("h", "a", sideEffects="Some")
    error = await refusal(validating(listing, far, configuration("c", some)), ask(dry_run=True))
    assert isinstance(error, BadRequestError)
    assert error.message == 'admission webhook "h" does not support dry run'
    assert far.asked == []
    fit = hook("h", "a", sideEffects="NoneOnDryRun")
    await validating(listing, far, configuration("c", fit)).validate(ask(dry_run=True))
    assert far.asked[0][1]["dryRun"] is True


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"patch": "W10="}, "validating webhook may not return response.patch"),
        ({"patchType": "JSONPatch"}, "validating webhook may not return response.patchType"),
    ],
)
async def test_a_validating_webhook_may_not_patch(listing: Listing, said: Obj, why: str) -> None:
    far = FarEnd(a=lambda _request: said)
    error = await refusal(validating(listing, far, configuration("c", hook("h", "a"))), ask())
    assert error.message.endswith(f"received invalid webhook response: {why}")


async def test_warnings_and_annotations_are_collected(listing: Listing) -> None:
    far = FarEnd(a=lambda _request: {"warnings": ["careful"], "auditAnnotations": {"key": "value"}})
    admission = ask()
    await validating(listing, far, configuration("c", hook("h", "a"))).validate(admission)
    assert admission.warnings == ["careful"]
    assert admission.annotations.at("Metadata") == {"h/key": "value"}


async def test_calls_are_counted(listing: Listing) -> None:
    far, metrics = FarEnd(a=allow, b=deny, c=unreachable), WebhookMetrics()
    hooks = configuration(
        "c",
        hook("h", "a"),
        hook("i", "b"),
        hook("j", "c"),
        hook("k", "c", failurePolicy="Ignore"),
    )
    plugin = ValidatingAdmissionWebhook(calls(listing, far, hooks, metrics=metrics))
    await refusal(plugin, ask())
    lines = set(metrics.lines())
    counted = (
        ("request_total", "code=200 name=h operation=CREATE rejected=false"),
        ("request_total", "code=400 name=i operation=CREATE rejected=true"),
        ("request_total", "code=500 name=j operation=CREATE rejected=true"),
        ("request_total", "code=500 name=k operation=CREATE rejected=false"),
        ("rejection_count", "error_type=no_error name=i operation=CREATE rejection_code=400"),
        ("fail_open_count", "name=k"),
        ("admission_duration_seconds_count", "name=h operation=CREATE rejected=false"),
    )
    for name, labels in counted:
        pairs = [text.split("=") for text in f"{labels} type=validating".split()]
        inside = ",".join(f'{key}="{value}"' for key, value in pairs)
        assert f"apiserver_admission_webhook_{name}{{{inside}}} 1" in lines


# Changes


async def test_each_mutating_webhook_sees_what_those_before_it_changed(listing: Listing) -> None:
    far = FarEnd(a=setting("one"), b=setting("two"))
    admission = ask()
    plugin = mutating(listing, far, configuration("c", hook("h", "a"), hook("i", "b")))
    changed = await plugin.admit(admission)
    assert changed is not None
    assert changed["data"] == {"a": "b", "one": "yes", "two": "yes"}
    assert far.asked[1][1]["object"]["data"] == {"a": "b", "one": "yes"}
    assert admission.reinvocation.wanted
    noted = admission.annotations.at("Metadata")
    assert orjson.loads(noted["mutation.webhook.admission.k8s.io/round_0_index_0"]) == {
        "configuration": "c",
        "webhook": "h",
        "mutated": True,
    }
    detailed = admission.annotations.at("Request")
    assert orjson.loads(detailed["patch.webhook.admission.k8s.io/round_0_index_1"]) == {
        "configuration": "c",
        "webhook": "i",
        "patch": [{"op": "add", "path": "/data/two", "value": "yes"}],
        "patchType": "JSONPatch",
    }


async def test_a_patch_that_changes_nothing_is_no_change(listing: Listing) -> None:
    far = FarEnd(a=setting("a", "b"))
    admission = ask()
    assert await mutating(listing, far, configuration("c", hook("h", "a"))).admit(admission) == (
        admission.obj
    )
    assert not admission.reinvocation.wanted


async def test_a_changed_object_is_pruned_and_has_defaults(listing: Listing) -> None:
    far = FarEnd(
        a=patching(
            {"op": "add", "path": "/spec/initContainers", "value": [{"name": "i", "image": "b"}]},
            {"op": "add", "path": "/spec/nonsense", "value": True},
        )
    )
    pod = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "x", "namespace": "a"},
        "spec": {"containers": [{"name": "c", "image": "a"}]},
    }
    plugin = mutating(listing, far, configuration("c", hook("h", "a")))
    changed = await plugin.admit(ask(PODS, obj=freeze(pod)))
    assert changed is not None
    assert "nonsense" not in changed["spec"]
    assert changed["spec"]["initContainers"][0]["terminationMessagePolicy"] == "File"


async def test_in_the_second_round_those_before_the_last_change_are_asked_again(
    listing: Listing,
) -> None:
    far = FarEnd(a=allow, b=setting("one"), c=allow)
    again = {"reinvocationPolicy": "IfNeeded"}
    plugin = mutating(
        listing,
        far,
        configuration("k", hook("h", "a", **again), hook("i", "b", **again), hook("j", "c")),
    )
    admission = ask()
    changed = await plugin.admit(admission)
    admission.reinvocation.again = True
    second = Admission(**{**vars(admission), "obj": changed})
    await plugin.admit(second)
    assert far.names == ["a", "b", "c", "a"]


async def test_where_others_change_the_object_all_are_asked_again(listing: Listing) -> None:
    far = FarEnd(a=allow, b=setting("one"))
    again = {"reinvocationPolicy": "IfNeeded"}
    plugin = mutating(
        listing, far, configuration("k", hook("h", "a", **again), hook("i", "b", **again))
    )
    admission = ask()
    changed = await plugin.admit(admission)
    assert changed is not None
    admission.reinvocation.again = True
    touched = {**changed, "data": {**changed["data"], "more": "yes"}}
    await plugin.admit(Admission(**{**vars(admission), "obj": touched}))
    assert far.names == ["a", "b", "a", "b"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"patch": "W10="}, "webhook returned response.patch but not response.patchType"),
        ({"patchType": "JSONPatch"}, "webhook returned response.patchType but not response.patch"),
        ({"patch": "W3t9XQ==", "patchType": "Merge"}, 'unsupported patch type "Merge"'),
        ({"patch": "W10=", "patchType": ""}, 'webhook returned invalid response.patchType of ""'),
    ],
)
async def test_a_patch_needs_a_type_that_is_known(listing: Listing, said: Obj, why: str) -> None:
    far = FarEnd(a=lambda _request: said)
    error = await refusal(mutating(listing, far, configuration("c", hook("h", "a"))), ask())
    assert error.message.startswith('Internal error occurred: failed calling webhook "h": ')
    assert error.message.endswith(why)


async def test_a_patch_that_does_not_fit_is_a_fault(listing: Listing) -> None:
    far = FarEnd(a=patching({"op": "remove", "path": "/data/nope"}), b=lambda _r: {
        "patch": base64.b64encode(b"{").decode(), "patchType": "JSONPatch"
    })  # fmt: skip
    for url in ("a", "b"):
        plugin = mutating(listing, far, configuration("c", hook("h", url, failurePolicy="Ignore")))
        error = await refusal(plugin, ask())
        assert isinstance(error, InternalError)
        assert error.message.startswith("Internal error occurred: ")


async def test_what_is_deleted_cannot_be_changed(listing: Listing) -> None:
    far = FarEnd(a=setting("one"))
    old = ask().obj
    plugin = mutating(listing, far, configuration("c", hook("h", "a")))
    error = await refusal(plugin, ask(operation="DELETE", obj=None, old=old))
    assert error.message == (
        'Internal error occurred: admission webhook "h" attempted to modify the object, which is '
        "not supported for this operation"
    )
