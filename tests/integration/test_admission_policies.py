"""Admission policies over HTTP: params, bindings, actions, changes, and what they refuse."""

from typing import Any

import pytest

from tests.integration.conftest import Answer, Server
from tests.integration.patience import eventually

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def matching(*resources: str, **more: Any) -> dict[str, Any]:
    rule = {
        "apiGroups": ["*"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": list(resources) or ["configmaps"],
        **more,
    }
    return {"resourceRules": [rule]}


async def install(server: Server, kind: str, name: str, spec: Any, **binding: Any) -> None:
    """Make a policy and its binding; `kind` is validating or mutating."""
    policy = {"metadata": {"name": name}, "spec": {"matchConstraints": matching(), **spec}}
    answer = await server.call("POST", f"{ADMISSION}/{kind}admissionpolicies", policy)
    assert answer.status == 201, answer.body
    bound = {"metadata": {"name": f"{name}-b"}, "spec": {"policyName": name, **binding}}
    answer = await server.call("POST", f"{ADMISSION}/{kind}admissionpolicybindings", bound)
    assert answer.status == 201, answer.body


async def validate(server: Server, *rules: Any, spec: Any = None, **binding: Any) -> None:
    binding = {"validationActions": ["Deny"], **binding}
    await install(
        server, "validating", "p", {"validations": list(rules), **(spec or {})}, **binding
    )


async def make(server: Server, name: str, query: str = "", **data: str) -> Answer:
    return await server.call("POST", CONFIGMAPS + query, {"metadata": {"name": name}, "data": data})


def denied(answer: Answer, text: str, code: int = 422) -> None:
    assert answer.status == code, answer.body
    assert answer.body["message"].endswith(f"denied request: {text}")
    assert answer.body["details"]["causes"][0]["message"].endswith(text)


def patch(text: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": text}}


def configuration(text: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}


async def mutate(server: Server, *mutations: Any, name: str = "m", again: str = "Never") -> None:
    spec = {"mutations": list(mutations), "reinvocationPolicy": again}
    await install(server, "mutating", name, spec)


# Validating


async def test_a_binding_may_only_warn(server: Server) -> None:
    rule = {"expression": "false", "message": "hm"}
    await validate(server, rule, validationActions=["Warn"])
    answer = await make(server, "a")
    assert answer.status == 201
    assert answer.headers["Warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-b': hm\""
    )


async def test_nothing_is_written_by_what_is_denied(server: Server) -> None:
    await validate(server, {"expression": "object.data.a != '1'", "reason": "Forbidden"})
    denied(await make(server, "a", a="1"), "failed expression: object.data.a != '1'", 403)
    denied(
        await make(server, "a", "?dryRun=All", a="1"),
        "failed expression: object.data.a != '1'",
        403,
    )
    assert (await server.call("GET", f"{CONFIGMAPS}/a")).status == 404
    assert (await make(server, "a", a="2")).status == 201
    change = {"data": {"a": "1"}}
    answer = await server.call(
        "PATCH", f"{CONFIGMAPS}/a", change, content_type="application/merge-patch+json"
    )
    assert answer.status == 403


async def test_a_policy_is_gone_with_its_binding(server: Server) -> None:
    await validate(server, {"expression": "false", "message": "no"})
    denied(await make(server, "a"), "no")
    await server.call("DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/p-b")
    assert (await make(server, "a")).status == 201


async def test_expressions_know_who_asks_for_what_and_where(server: Server) -> None:
    rule = {
        "expression": (
            "request.operation == 'CREATE' && request.kind.kind == 'ConfigMap' && "
            "request.resource.resource == 'configmaps' && 'system:masters' in "
            "request.userInfo.groups && request.namespace == 'default' && !request.dryRun && "
            "namespaceObject.metadata.name == 'default' && oldObject == null && "
            "request.options.kind == 'CreateOptions' && "
            "authorizer.requestResource.check('delete').allowed()"
        )
    }
    await validate(server, rule)
    answer = await make(server, "a")
    assert answer.status == 201, answer.body


async def test_params_are_objects_of_any_kind(server: Server) -> None:
    crd = {
        "metadata": {"name": "limits.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"kind": "Limit", "plural": "limits"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {"longest": {"type": "integer"}},
                        }
                    },
                }
            ],
        },
    }
    spec = {"paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"}}
    rule = {"expression": "object.metadata.name.size() <= params.longest"}
    selector = {"selector": {"matchLabels": {"use": "1"}}, "parameterNotFoundAction": "Deny"}
    await validate(server, rule, spec=spec, paramRef=selector)
    missing = "failed to configure policy: failed to find resource referenced by paramKind: "
    denied(await make(server, "a"), f"{missing}'example.com/v1, Kind=Limit'")
    await server.call("POST", DEFINITIONS, crd)
    limits = "/apis/example.com/v1/limits"
    await eventually(lambda: server.call("GET", limits), lambda answer: answer.status == 200)
    none = "no params found for policy binding with `Deny` parameterNotFoundAction"
    denied(await make(server, "a"), f"failed to configure binding: {none}")
    for name, longest in (("a", 3), ("b", 5)):
        body = {"apiVersion": "example.com/v1", "kind": "Limit", "longest": longest}
        body |= {"metadata": {"name": name, "labels": {"use": "1"}}}
        assert (await server.call("POST", limits, body)).status == 201
    denied(await make(server, "four"), f"failed expression: {rule['expression']}")
    assert (await make(server, "two")).status == 201


async def test_params_may_stand_in_the_namespace_of_the_request(server: Server) -> None:
    spec = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}
    rule = {"expression": "object.metadata.name == params.data.only"}
    reference = {"name": "rules", "parameterNotFoundAction": "Allow"}
    await validate(server, rule, spec=spec, paramRef=reference)
    assert (await make(server, "rules", only="x")).status == 201
    denied(await make(server, "y"), f"failed expression: {rule['expression']}")
    assert (await make(server, "x")).status == 201


async def test_an_error_counts_as_the_policy_says(server: Server) -> None:
    rule = {"expression": "object.data.nope == 'x'"}
    await validate(server, rule)
    text = f"expression '{rule['expression']}' resulted in error: no such key: nope"
    denied(await make(server, "a", b="c"), text)
    path = f"{ADMISSION}/validatingadmissionpolicies/p"
    ignore = {"spec": {"failurePolicy": "Ignore"}}
    await server.call("PATCH", path, ignore, content_type="application/merge-patch+json")
    assert (await make(server, "a", b="c")).status == 201


async def test_match_conditions_leave_requests_out(server: Server) -> None:
    conditions = [{"name": "only-a", "expression": "request.name == 'a'"}]
    rule = {"expression": "false", "message": "no"}
    await validate(server, rule, spec={"matchConditions": conditions})
    denied(await make(server, "a"), "no")
    assert (await make(server, "b")).status == 201


async def test_an_expression_that_costs_too_much_ends(server: Server) -> None:
    text = "[1,2,3,4,5,6,7,8].all(a, " * 7 + "true" + ")" * 7
    await validate(server, {"expression": text})
    answer = await make(server, "a")
    assert answer.status == 422
    assert "operation cancelled: actual cost limit exceeded" in answer.body["message"]


async def test_what_configures_admission_is_exempt(server: Server) -> None:
    everything = {"matchConstraints": matching("*")}
    await validate(server, {"expression": "false"}, spec=everything)
    gone = await server.call("DELETE", f"{ADMISSION}/validatingadmissionpolicybindings/p-b")
    assert gone.status == 200


# Mutating


async def test_changes_are_made_in_order(server: Server) -> None:
    await mutate(
        server,
        patch("[JSONPatch{op: 'add', path: '/data/n', value: '1'}]"),
        patch("[JSONPatch{op: 'replace', path: '/data/n', value: string(int(object.data.n) + 1)}]"),
        configuration("Object{metadata: Object.metadata{labels: {'n': object.data.n}}}"),
    )
    made = (await make(server, "a", x="y")).body
    assert made["data"] == {"x": "y", "n": "2"}
    assert made["metadata"]["labels"] == {"n": "2"}


async def test_a_test_that_fails_changes_nothing(server: Server) -> None:
    text = (
        "[JSONPatch{op: 'test', path: '/data/x', value: 'z'},"
        " JSONPatch{op: 'remove', path: '/data/x'}]"
    )
    await mutate(server, patch(text))
    assert (await make(server, "a", x="y")).body["data"] == {"x": "y"}
    assert "data" not in (await make(server, "b", x="z")).body


async def test_keys_in_paths_are_escaped(server: Server) -> None:
    text = (
        "[JSONPatch{op: 'add', path: '/metadata/labels', value: {}}, JSONPatch{op: 'add', path: "
        "'/metadata/labels/' + jsonpatch.escapeKey('example.com/x'), value: 'y'}]"
    )
    await mutate(server, patch(text))
    assert (await make(server, "a")).body["metadata"]["labels"] == {"example.com/x": "y"}


async def test_policies_that_ask_for_it_see_later_changes(server: Server) -> None:
    count = "Object{metadata: Object.metadata{labels: {'n': string(object.data.size())}}}"
    await mutate(server, configuration(count), name="a-count", again="IfNeeded")
    await mutate(server, configuration(count.replace("'n'", "'m'")), name="b-count")
    await mutate(server, patch("[JSONPatch{op: 'add', path: '/data/z', value: 'z'}]"), name="c-add")
    made = (await make(server, "a", x="y")).body
    assert made["metadata"]["labels"] == {"n": "2", "m": "1"}


async def test_a_list_by_keys_is_merged_and_its_items_defaulted(server: Server) -> None:
    text = (
        "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'side', image: 'i'}]}}"
    )
    spec = {"mutations": [configuration(text)], "reinvocationPolicy": "Never"}
    spec["matchConstraints"] = matching("pods")
    await install(server, "mutating", "m", spec)
    await server.call(
        "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = (await server.call("POST", "/api/v1/namespaces/default/pods", pod)).body
    assert [each["name"] for each in made["spec"]["containers"]] == ["c", "side"]
    assert made["spec"]["containers"][1]["terminationMessagePath"] == "/dev/termination-log"


@pytest.mark.parametrize(
    ("mutation", "text"),
    [
        (
            configuration("Object{spec: Object.spec{nope: 1}}"),
            (
                "error applying patch: failed to convert patch object to typed object: "
                ".spec: field not declared in schema"
            ),
        ),
        (
            configuration("Object{metadata: Object.wrong{name: 'x'}}"),
            (
                'type mismatch: unexpected type name "Object.wrong", expected "Object.metadata", '
                "which matches field name path from root Object type"
            ),
        ),
        (
            patch("[JSONPatch{op: 'remove', path: '/data/none'}]"),
            (
                "JSON Patch: error in remove for path: '/data/none': "
                "Unable to remove nonexistent key: none: missing value"
            ),
        ),
        (
            patch("[JSONPatch{op: 'add', path: '/none/a/b', value: 1}]"),
            (
                "JSON Patch: add operation does not apply: doc is missing path: "
                '"/none/a/b": missing value'
            ),
        ),
        (
            patch("[JSONPatch{op: 'add', path: '/data/x', value: object.nope}]"),
            (
                "expression '[JSONPatch{op: 'add', path: '/data/x', value: object.nope}]' "
                "resulted in error: no such key: nope"
            ),
        ),
    ],
)
async def test_a_change_that_cannot_be_made_refuses(
    server: Server, mutation: Any, text: str
) -> None:
    await mutate(server, mutation)
    answer = await make(server, "a", x="y")
    message = f"policy 'm' with binding 'm-b' denied request: {text}"
    assert (answer.body["reason"], answer.body["message"]) == ("Invalid", message)


async def test_what_is_changed_is_validated(server: Server) -> None:
    await mutate(server, patch("[JSONPatch{op: 'add', path: '/data/bad key', value: 'x'}]"))
    answer = await make(server, "a", x="y")
    assert answer.status == 422
    assert "data[bad key]: Invalid value" in answer.body["message"]
