"""The manifests folder of a running server: applied, applied again, pruned; and nothing else is."""

import os

import pytest

from minikube_py.api.core import CONFIGMAPS, EVENTS
from minikube_py.api.errors import NotFoundError, ServiceUnavailableError
from minikube_py.lib.clock import SystemClock
from minikube_py.server.manifests.plan import FILE
from minikube_py.server.manifests.run import Manifests
from tests.integration.conftest import running
from tests.integration.patience import eventually

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pages.example.com}
spec:
  group: example.com
  names: {kind: Page, plural: pages}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
PAGE = "apiVersion: example.com/v1\nkind: Page\nmetadata: {name: home}\nspec: {text: hello}\n"


def configmap(name, value="v"):
    head = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}"
    return f"{head}\ndata: {{key: {value}}}\n"


def put(folder, name, *documents):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("---\n".join(documents))
    os.utime(path, (1000, 1000))  # as if it had been there for long
    return path


async def there(client, name):
    try:
        return await client.get(CONFIGMAPS, name, "default")
    except NotFoundError:
        return None


async def gone(client, name):
    return await there(client, name) is None


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "server" / "manifests"


async def test_a_running_server_follows_the_folder(tmp_path, folder):
    put(folder, "first.yaml", configmap("one"), configmap("two"))
    async with running(tmp_path) as server:
        client = server.client
        await eventually(lambda: there(client, "two"), bool)
        put(folder, "deep/second.yml", configmap("three"))
        await eventually(lambda: there(client, "three"), bool)
        put(folder, "deep/second.yml", configmap("three", "changed"))

        async def changed():
            return (await there(client, "three"))["data"]["key"] == "changed"

        await eventually(changed, bool)
        put(folder, "first.yaml", configmap("one"))
        await eventually(lambda: gone(client, "two"), bool)
        assert await there(client, "one")
        (folder / "deep/second.yml").unlink()
        await eventually(lambda: gone(client, "three"), bool)
        put(folder, "broken.yaml", "a: b: c")

        async def told():
            events = (await client.list(EVENTS)).items
            return any('"broken.yaml": not valid YAML' in e.obj["message"] for e in events)

        await eventually(told, bool)
        assert await there(client, "one")
    (folder / "broken.yaml").unlink()
    (folder / "first.yaml").unlink()
    async with running(tmp_path) as server:
        await eventually(lambda: gone(server.client, "one"), bool)


class DiedError(Exception):
    """The process died."""


class Dying:
    """A client that dies before or after its n-th write."""

    def __init__(self, client, writes, *, after):
        self._client = client
        self._left = writes
        self._after = after

    def __getattr__(self, name):
        call = getattr(self._client, name)
        if name not in ("patch", "delete"):
            return call

        async def counted(*args, **more):
            self._left -= 1
            if self._left < 0 and not self._after:
                raise DiedError
            answer = await call(*args, **more)
            if self._left < 0:
                raise DiedError
            return answer

        return counted


def manifests(server, folder, client=None, disabled=()):
    app = server.app
    return Manifests(folder, disabled, client or server.client, app.scheme, SystemClock())


@pytest.fixture
def hand(tmp_path):
    """A folder that the running server does not follow."""
    return tmp_path / "by-hand"


async def test_definitions_come_before_their_objects_and_what_is_wrong_is_named(server, hand):
    put(hand, "a.yaml", PAGE, configmap("one"), configmap("one", "again"))
    put(hand, "b.yaml", CRD)
    put(hand, "c.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: No_Name}\n")
    ours = manifests(server, hand)
    _, again = await ours.look()
    assert again is not None
    told = "\n".join(ours._told)
    assert '"a.yaml", document 1: no matches for kind "Page" in version "example.com/v1"' in told
    assert '"a.yaml", document 3: the same object stands in a.yaml, document 2' in told
    assert '"c.yaml", document 1: ConfigMap "No_Name" is invalid' in told
    assert (await there(server.client, "one"))["data"] == {"key": "v"}

    async def served():
        await ours.look()
        return not any("Page" in text for text in ours._told)

    await eventually(served, bool)
    page = server.app.scheme.by_kind("example.com/v1", "Page")
    assert (await server.client.get(page, "home", "default"))["spec"] == {"text": "hello"}


async def test_what_others_have_made_is_not_deleted_but_given_back(server, hand):
    client = server.client
    theirs = {"metadata": {"name": "theirs", "namespace": "default"}, "data": {"a": "1"}}
    await client.create(CONFIGMAPS, theirs)
    path = put(hand, "f.yaml", configmap("theirs"), configmap("ours"))
    await manifests(server, hand).look()
    assert (await there(client, "theirs"))["data"] == {"a": "1", "key": "v"}
    ours = await there(client, "ours")
    copy = {"name": "copy", "namespace": "default", "labels": ours["metadata"]["labels"]}
    await client.create(CONFIGMAPS, {"metadata": copy})
    path.unlink()
    await manifests(server, hand).look()
    left = await there(client, "theirs")
    assert left["data"] == {"a": "1"}
    assert FILE not in left["metadata"].get("labels", {})
    assert await there(client, "copy")
    assert await there(client, "ours") is None


async def test_a_server_leaves_alone_what_comes_from_the_folder_of_another(server, hand, tmp_path):
    put(hand, "a.yaml", configmap("a"))
    await manifests(server, hand).look()
    put(tmp_path / "other", "b.yaml", configmap("b"))
    await manifests(server, tmp_path / "other").look()
    (tmp_path / "other" / "b.yaml").unlink()
    await manifests(server, tmp_path / "other").look()
    assert await there(server.client, "a")
    assert await there(server.client, "b") is None


async def test_a_skipped_file_stays_and_a_disabled_one_goes(server, hand):
    put(hand, "a.yaml", configmap("a"))
    put(hand, "b.yaml", configmap("b"))
    await manifests(server, hand).look()
    put(hand, "a.yaml", configmap("a2"))
    put(hand, "a.yaml.skip")
    await manifests(server, hand, disabled=("b",)).look()
    assert await there(server.client, "a")
    assert await there(server.client, "a2") is None
    assert await there(server.client, "b") is None


@pytest.mark.parametrize("after", [False, True])
async def test_a_process_that_dies_at_any_write_is_made_up_for_by_the_next(server, hand, after):
    client = server.client
    for step in range(7):
        put(hand, "a.yaml", configmap("stays"), configmap(f"old-{step}"))
        await manifests(server, hand).look()
        put(hand, "a.yaml", configmap("stays", f"v{step}"))
        put(hand, "b.yaml", configmap(f"new-{step}"), configmap("moved", f"v{step}"))
        try:
            await manifests(server, hand, Dying(client, step, after=after)).look()
        except DiedError:
            assert step < 6
        else:
            assert step >= 4
        await manifests(server, hand).look()
        found = {item.key.name for item in (await client.list(CONFIGMAPS, "default")).items}
        assert found == {"stays", f"new-{step}", "moved"}
        assert (await there(client, "stays"))["data"]["key"] == f"v{step}"


async def test_a_refused_write_is_tried_again_and_stops_nothing_else(server, hand):
    put(hand, "a.yaml", configmap("one"), configmap("two"))

    class Refusing:
        def __getattr__(self, name):
            return getattr(server.client, name)

        async def patch(self, resource, name, *args, **more):
            if name == "one" and self.refuses:
                raise ServiceUnavailableError("the webhook hangs")
            return await server.client.patch(resource, name, *args, **more)

        refuses = True

    client = Refusing()
    ours = manifests(server, hand, client)
    assert (await ours.look())[1] == pytest.approx(0.5, abs=0.3)
    assert await there(server.client, "two")
    client.refuses = False
    assert (await ours.look())[1] is None
    assert await there(server.client, "one")
