"""Tokens without an end that nobody uses: marked after a year, deleted after another."""

from datetime import UTC, datetime
from typing import Any

import pytest

from minikube_py.api.core import CONFIGMAPS, PODS, SECRETS, SERVICEACCOUNTS
from minikube_py.api.core.secret import (
    INVALID_SINCE,
    LAST_USED,
    OF_SERVICE_ACCOUNT,
    SERVICE_ACCOUNT_NAME,
    USE_TRACKING,
)
from minikube_py.client.actions import Delete, Patch
from minikube_py.server.controllers import legacy_token_cleaner
from minikube_py.server.controllers.legacy_token_cleaner import is_generated, plan
from tests.frozen import freeze
from tests.harness import World, harness
from tests.virtual_time import virtual

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OLD = "2025-01-01T00:00:00Z"


def secret(created: str = OLD, **labels: str) -> Any:
    metadata = {
        "name": "bot-token",
        "namespace": "d",
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": created,
        "annotations": {SERVICE_ACCOUNT_NAME: "bot"},
        "labels": {f"kubernetes.io/legacy-token-{key}": day for key, day in labels.items()},
    }
    return freeze({"metadata": metadata, "type": OF_SERVICE_ACCOUNT})


@pytest.mark.parametrize(
    "kept",
    [
        secret(created="2025-11-22T12:00:00Z"),
        secret(**{"last-used": "2025-11-22"}),
        secret(**{"last-used": "long ago"}),
        secret(**{"last-used": "2025-01-01", "invalid-since": "2025-11-22"}),
    ],
)
def test_what_was_used_or_marked_within_a_year_is_left(kept: Any) -> None:
    assert list(plan(kept, (), NOW)) == []


@pytest.mark.parametrize(
    "unused",
    [secret(), secret(**{"last-used": "2025-11-21"}), secret(**{"invalid-since": "some day"})],
)
def test_what_nobody_used_for_a_year_is_marked(unused: Any) -> None:
    (action,) = plan(unused, ("another",), NOW)
    assert isinstance(action, Patch)
    labels = {INVALID_SINCE: "2026-11-22"}
    assert action.patch == {"metadata": {"uid": "u", "labels": labels}}
    assert list(plan(unused, ("bot-token",), NOW)) == []


def test_what_was_marked_for_a_year_is_deleted_as_it_was_seen() -> None:
    (action,) = plan(secret(**{"invalid-since": "2025-11-21"}), (), NOW)
    assert isinstance(action, Delete)
    assert action.options["preconditions"]["resourceVersion"] == "7"


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (None, False),
        ({"metadata": {"uid": "a"}, "secrets": [{"name": "bot-token"}]}, True),
        ({"metadata": {"uid": "a"}, "secrets": [{"name": "another"}]}, False),
        ({"metadata": {"uid": "a"}}, False),
    ],
)
def test_only_tokens_that_an_account_lists_were_made_by_themselves(
    account: Any,
    expected: bool,  # noqa: FBT001
) -> None:
    assert is_generated(secret(), account) is expected


async def made(world: World, name: str, *, listed: bool) -> None:
    notes = {SERVICE_ACCOUNT_NAME: name}
    metadata = {"name": f"{name}-token", "namespace": "d", "annotations": notes}
    await world.client.create(SECRETS, {"metadata": metadata, "type": OF_SERVICE_ACCOUNT})
    account: Any = {"metadata": {"name": name, "namespace": "d"}}
    if listed:
        account["secrets"] = [{"name": f"{name}-token"}]
    await world.client.create(SERVICEACCOUNTS, account)


def left(world: World) -> dict[str, Any]:
    found = world.cluster.objects(SECRETS)
    return {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in found}


@virtual
async def test_in_two_years_what_nobody_needs_is_gone_and_all_else_is_there() -> None:
    day = 24 * 3600.0
    async with harness() as world:
        for name, listed in (("unused", True), ("wanted", False), ("mounted", True)):
            await made(world, name, listed=listed)
        volume = {"name": "v", "secret": {"secretName": "mounted-token"}}
        pod = {"metadata": {"name": "p", "namespace": "d"}, "spec": {"volumes": [volume]}}
        await world.client.create(PODS, pod)
        world.run(legacy_token_cleaner.CONTROLLER)
        await world.clock.sleep(400 * day)
        assert INVALID_SINCE not in left(world)["unused-token"]  # nobody noted uses yet
        since = {"since": f"{world.clock.now():%Y-%m-%d}"}
        metadata = {"name": USE_TRACKING, "namespace": "kube-system"}
        await world.client.create(CONFIGMAPS, {"metadata": metadata, "data": since})
        await world.clock.sleep(364 * day)
        assert INVALID_SINCE not in left(world)["unused-token"]
        await world.clock.sleep(4 * day)
        assert INVALID_SINCE in left(world)["unused-token"]
        assert LAST_USED not in left(world)["unused-token"]
        await world.clock.sleep(368 * day)
        assert left(world) == {"wanted-token": {}, "mounted-token": {}}
