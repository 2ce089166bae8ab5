"""Secrets that hold tokens of accounts: filled in, kept, and gone with the account."""

import base64
from typing import Any

from minikube_py.api.core import SECRETS, SERVICEACCOUNTS
from minikube_py.api.core.secret import OF_SERVICE_ACCOUNT
from minikube_py.client.actions import Update
from minikube_py.server.controllers import tokens
from tests.frozen import freeze
from tests.harness import harness
from tests.unit.server.controllers.builders import meta
from tests.virtual_time import settle, virtual

NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
ACCOUNT = freeze({"metadata": meta("bot")})


def secret(data: dict[str, str] | None = None, **annotations: str) -> Any:
    notes = {
        NAME: "bot",
        **{f"kubernetes.io/service-account.{k}": v for k, v in annotations.items()},
    }
    body = {"metadata": meta("s", annotations=notes), "type": OF_SERVICE_ACCOUNT}
    return freeze({**body, "data": data} if data else body)


def in64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def planned(obj: Any) -> list[Any]:
    return list(tokens.plan(obj, ACCOUNT, "PEM", lambda: "TOKEN"))


FILLED = {"ca.crt": in64("PEM"), "namespace": in64("d"), "token": in64("TOKEN")}


def test_an_empty_secret_is_filled_in() -> None:
    (update,) = planned(secret())
    assert isinstance(update, Update)
    assert update.obj["data"] == FILLED
    assert update.obj["metadata"]["annotations"] == {NAME: "bot", UID: "uid-bot"}


def test_what_is_there_stays_but_for_the_ca() -> None:
    own = {"ca.crt": in64("OLD"), "namespace": in64("x"), "token": in64("MINE"), "more": "eA=="}
    (update,) = planned(secret(own))
    assert update.obj["data"] == {**own, "ca.crt": in64("PEM")}


def test_a_filled_secret_is_left_alone() -> None:
    assert planned(secret(FILLED, uid="uid-bot")) == []


def body(name: str, **annotations: str) -> Any:
    return {
        "metadata": {"name": name, "namespace": "d", "annotations": {NAME: "bot", **annotations}},
        "type": OF_SERVICE_ACCOUNT,
    }


@virtual
async def test_secrets_are_filled_when_they_or_their_account_come_and_go_with_it() -> None:
    signed = []

    def sign(secret: Any, account: Any) -> str:
        signed.append((secret["metadata"]["name"], account["metadata"]["name"]))
        return "TOKEN"

    async with harness(root_ca="PEM", legacy_token=sign) as world:
        account = {"metadata": {"name": "bot", "namespace": "d"}}
        made = await world.client.create(SERVICEACCOUNTS, account)
        world.run(tokens.CONTROLLER)
        await settle()
        await world.client.create(SECRETS, body("one"))
        await world.client.create(SECRETS, body("strange", **{UID: "other"}))
        other = {"metadata": {"name": "other", "namespace": "d"}, "type": "Opaque"}
        await world.client.create(SECRETS, other)
        await settle()
        found = {item["metadata"]["name"]: item for item in world.cluster.objects(SECRETS)}
        assert sorted(found) == ["one", "other"]
        assert found["one"]["data"]["token"] == in64("TOKEN")
        assert found["one"]["metadata"]["annotations"][UID] == made["metadata"]["uid"]
        assert signed == [("one", "bot")]
        await world.client.delete(SERVICEACCOUNTS, "bot", "d")
        await settle()
        assert [item["metadata"]["name"] for item in world.cluster.objects(SECRETS)] == ["other"]


@virtual
async def test_nothing_is_done_where_nobody_signs() -> None:
    async with harness(root_ca="PEM") as world:
        world.run(tokens.CONTROLLER)
        await world.client.create(SECRETS, body("one"))
        await settle()
        (found,) = world.cluster.objects(SECRETS)
        assert "data" not in found
