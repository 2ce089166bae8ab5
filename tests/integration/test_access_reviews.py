"""Access reviews with selectors, as clients ask them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Server, running

REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SELF = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
NODE = {"user": "system:node:here", "groups": ["system:nodes"]}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(tmp_path) as made:
        yield made


def pods(**more: Any) -> dict[str, Any]:
    return {"resourceAttributes": {"verb": "list", "resource": "pods", "version": "v1", **more}}


def on(*nodes: str) -> dict[str, Any]:
    return {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": list(nodes)}]}


async def test_a_review_is_about_what_its_selectors_select(server: Server) -> None:
    async def ask(selector: dict[str, Any]) -> dict[str, Any]:
        spec = {**NODE, **pods(fieldSelector=selector)}
        answer = await server.call("POST", REVIEWS, {"spec": spec})
        assert answer.status == 201, answer.body
        status: dict[str, Any] = answer.body["status"]
        return status

    assert (await ask(on("here")))["allowed"] is True
    assert (await ask({"rawSelector": "spec.nodeName=here"}))["allowed"] is True
    refused = await ask(on("there"))
    assert refused["allowed"] is False
    assert refused["reason"] == "can only list/watch pods with spec.nodeName field selector"
    ignored = await ask(on("here", "there"))
    assert ignored["allowed"] is False
    assert ignored["evaluationError"] == (
        "spec.resourceAttributes.fieldSelector ignored due to parse error"
    )


@pytest.mark.parametrize("path", [REVIEWS, SELF])
async def test_selectors_that_say_nothing_are_refused(server: Server, path: str) -> None:
    who = {"user": "ann"} if path == REVIEWS else {}
    spec = {**who, **pods(fieldSelector={}, labelSelector={"rawSelector": "a", **on("x")})}
    answer = await server.call("POST", path, {"spec": spec})
    assert answer.status == 422
    assert [(one["field"], one["message"]) for one in answer.body["details"]["causes"]] == [
        (
            "spec.resourceAttributes.fieldSelector.requirements",
            (
                "Required value: when spec.resourceAttributes.fieldSelector is specified, "
                "requirements or rawSelector is required"
            ),
        ),
        (
            "spec.resourceAttributes.labelSelector.rawSelector",
            'Invalid value: "a": may not specified at the same time as requirements',
        ),
    ]
