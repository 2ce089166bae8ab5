"""How things were: the history of objects and lists of the past, over HTTP and from the command."""

import base64
from pathlib import Path

import pytest

from minikube_py.cli import get, history
from minikube_py.lib.errors import StartError
from tests.integration.conftest import Server, running
from tests.integration.patience import eventually
from tests.integration.test_custom_kinds import crd, tab

MAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"


def config_map(text: str) -> dict[str, object]:
    return {"metadata": {"name": "m"}, "data": {"text": text}}


async def revision_of(server: Server, method: str, path: str, body: object = None) -> int:
    answer = await server.call(method, path, body)
    assert answer.status < 300, answer.body
    return int(answer.body["metadata"].get("resourceVersion") or 0)


async def lived(server: Server) -> list[int]:
    """Let a config map be made, changed, deleted and made again; return three revisions."""
    made = await revision_of(server, "POST", MAPS, config_map("one"))
    changed = await revision_of(server, "PUT", f"{MAPS}/m", config_map("two"))
    await server.call("DELETE", f"{MAPS}/m")
    again = await revision_of(server, "POST", MAPS, config_map("three"))
    # The API has forgotten all that five minutes later.
    await server.app._api.store.backend.compact(again)  # type: ignore[union-attr]
    return [made, changed, again]


def asked(**options: object) -> history.Asked:
    usual = {"namespace": "default", "limit": 20, "since": "", "output": "", "diff": False}
    return history.Asked(**{**usual, "values": False, **options})  # type: ignore[arg-type]


def then(at: str, **options: object) -> get.Asked:
    usual = {"namespace": "default", "all_namespaces": False, "output": "", "selector": ""}
    return get.Asked(at=at, **{**usual, **options})  # type: ignore[arg-type]


async def test_the_history_says_who_changed_what_and_when(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, changed, again = await lived(server)
    found = (await server.call("GET", f"/kpy.io/history{MAPS}/m")).body
    assert found["kind"] == "History"
    told = [(one["event"], one["verb"], one["user"]) for one in found["items"]]
    assert told == [
        ("Created", "create", "kubernetes-admin"),
        ("Deleted", "delete", "kubernetes-admin"),
        ("Updated", "update", "kubernetes-admin"),
        ("Created", "create", "kubernetes-admin"),
    ]
    assert [one.get("object", {}).get("data") for one in found["items"]] == [
        {"text": "three"},
        None,
        {"text": "two"},
        {"text": "one"},
    ]
    assert all(one["time"].startswith("20") for one in found["items"])
    older = (await server.call("GET", f"/kpy.io/history{MAPS}/m?limit=1&before={again}")).body
    assert [one["event"] for one in older["items"]] == ["Deleted"]

    config = str(tmp_path / "kubeconfig.yaml")
    await history._shown(config, "cm", "m", asked())
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == list(history.COLUMNS)
    assert [line.split()[1:3] for line in printed[1:]] == [
        [str(again), "Created"],
        [str(again - 1), "Deleted"],
        [str(changed), "Updated"],
        [str(made), "Created"],
    ]
    assert printed[3].endswith("data.text")
    await history._shown(config, "configmaps", "m", asked(diff=True, limit=3))
    printed = capsys.readouterr().out.splitlines()
    at = printed.index("-  text: one")
    assert printed[at + 1] == "+  text: two"
    assert not any("managedFields" in line or "resourceVersion" in line for line in printed)


async def test_an_object_and_a_list_are_shown_as_they_were(server: Server, tmp_path: Path) -> None:
    made, changed, again = await lived(server)
    one = await server.call("GET", f"/kpy.io/at{MAPS}/m?revision={made}")
    assert one.body["data"] == {"text": "one"}
    assert one.body["metadata"]["resourceVersion"] == str(made)
    gone = await server.call("GET", f"/kpy.io/at{MAPS}/m?revision={again - 1}")
    assert gone.status == 404
    assert f'configmaps "m" not found at revision {again - 1}' in gone.body["message"]
    listed = await server.call("GET", f"/kpy.io/at{MAPS}?revision={changed}")
    names = {item["metadata"]["name"]: item.get("data") for item in listed.body["items"]}
    assert names["m"] == {"text": "two"}
    assert listed.body["metadata"]["resourceVersion"] == str(changed)
    first = await server.call("GET", f"/kpy.io/at/api/v1/namespaces?revision={changed}&limit=1")
    token = first.body["metadata"]["continue"]
    second = await server.call("GET", f"/kpy.io/at/api/v1/namespaces?continue={token}&limit=100")
    whole = [item["metadata"]["name"] for item in first.body["items"] + second.body["items"]]
    assert {"default", "kube-system"} <= set(whole)
    assert whole == sorted(whole)

    config = str(tmp_path / "kubeconfig.yaml")
    lines = await get._shown(config, "cm", "", then(str(made), all_namespaces=True))
    assert lines[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert ["default", "m", "1"] in [line.split()[:3] for line in lines]
    lines = await get._shown(config, "cm", "m", then("0s", output="yaml"))
    assert "  text: three" in "\n".join(lines).splitlines()
    with pytest.raises(StartError, match="the oldest revision that can be shown is"):
        await get._shown(config, "cm", "m", then("1000h"))
    with pytest.raises(StartError, match='doesn\'t have a resource type "spoon"'):
        await get._shown(config, "spoon", "", then("1m"))


async def test_what_is_out_of_the_history_or_to_come_is_refused_by_name(server: Server) -> None:
    newest = (await lived(server))[-1]
    late = await server.call("GET", f"/kpy.io/at{MAPS}/m?revision={newest + 99}")
    assert (late.status, "is to come" in late.body["message"]) == (400, True)
    odd = await server.call("GET", f"/kpy.io/at{MAPS}/m?time=yesterday")
    assert (odd.status, "Pass revision=NUMBER" in odd.body["message"]) == (400, True)
    events = await server.call("GET", "/kpy.io/at/api/v1/namespaces/default/events?revision=1")
    assert events.status == 410
    assert "before the history that is kept of events" in events.body["message"]
    assert (await server.call("GET", f"/kpy.io/history{MAPS}")).status == 400
    assert (await server.call("GET", f"/kpy.io/history{MAPS}/never")).status == 404
    assert (await server.call("DELETE", f"/kpy.io/at{MAPS}/m")).status == 405
    assert (await server.call("GET", f"/kpy.io/at{MAPS}?watch=1&revision=1")).status == 405
    assert (
        await server.call("GET", f"{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")
    ).status == 410


async def test_the_past_is_for_those_who_may_see_the_present(server: Server) -> None:
    made = (await lived(server))[0]
    bob = {"impersonate_user": "bob"}
    for path in (f"/kpy.io/history{MAPS}/m", f"/kpy.io/at{MAPS}/m?revision={made}"):
        refused = await server.call("GET", path, **bob)
        assert refused.status == 403
        assert 'cannot get resource "configmaps"' in refused.body["message"]
    refused = await server.call("GET", f"/kpy.io/at{MAPS}?revision={made}", **bob)
    assert 'cannot list resource "configmaps"' in refused.body["message"]


async def test_the_history_of_a_secret_shows_keys_and_only_on_demand_values(
    server: Server, tmp_path: Path
) -> None:
    secret = {"metadata": {"name": "s"}, "data": {"a": encoded("hush"), "b": encoded("same")}}
    made = await server.call("POST", SECRETS, secret)
    changed = {**secret, "data": {"a": encoded("hush hush"), "b": encoded("same")}}
    await server.call("PUT", f"{SECRETS}/s", {**changed, "type": made.body["type"]})
    answer = await server.call("GET", f"/kpy.io/history{SECRETS}/s")
    assert encoded("hush").encode() not in answer.raw
    new, old = (one["object"]["data"] for one in answer.body["items"])
    assert new["a"] != old["a"]
    assert new["b"] == old["b"]
    shown = await server.call("GET", f"/kpy.io/history{SECRETS}/s?values=true")
    assert [one["object"]["data"]["a"] for one in shown.body["items"]] == [
        encoded("hush hush"),
        encoded("hush"),
    ]
    folder = tmp_path / "server" / "db"
    assert not any(encoded("hush").encode() in file.read_bytes() for file in folder.iterdir())


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def test_custom_kinds_have_a_history_too(server: Server) -> None:
    assert (
        await server.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd())
    ).status == 201
    path = f"/apis/{crd()['spec']['group']}/v1/namespaces/default/crontabs"

    await eventually(lambda: server.call("GET", path), lambda answer: answer.status == 200)
    made = await server.call("POST", path, tab())
    await server.call("DELETE", f"{path}/a")
    found = (await server.call("GET", f"/kpy.io/history{path}/a")).body
    assert [one["event"] for one in found["items"]] == ["Deleted", "Created"]
    revision = made.body["metadata"]["resourceVersion"]
    then = await server.call("GET", f"/kpy.io/at{path}/a?revision={revision}")
    assert then.body["metadata"]["uid"] == made.body["metadata"]["uid"]


async def test_the_history_outlives_the_server(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        made = (await lived(server))[0]
    async with running(tmp_path) as server:
        one = await server.call("GET", f"/kpy.io/at{MAPS}/m?revision={made}")
        assert one.body["data"] == {"text": "one"}
