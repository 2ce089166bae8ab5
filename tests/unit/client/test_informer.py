"""Informers: list, follow, lose the history, catch up, and wait for a revision."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import CONFIGMAPS, PODS
from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Key
from minikube_py.client.informer import Informers
from minikube_py.client.store import ItemStore
from minikube_py.client.watcher import TRANSITIONS, Outcome, Selection, State
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock, run, settle, virtual


def config_map(name, namespace="default", **more):
    return {"metadata": {"name": name, "namespace": namespace, **more}, "data": {"k": "v"}}


def names(informer, namespace=""):
    return sorted(item.key.name for item in informer.items(namespace))


@virtual
async def test_an_informer_shows_what_was_there_and_what_came_later():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    await client.create(CONFIGMAPS, config_map("old"))
    async with Informers(client, VirtualClock()) as informers:
        informer = informers.get(CONFIGMAPS)
        assert not informer.synced
        await informer.wait_synced()
        assert names(informer) == ["old"]
        made = await client.create(CONFIGMAPS, config_map("new", "other"))
        await informer.wait_for(int(made["metadata"]["resourceVersion"]))
        assert names(informer) == ["new", "old"]
        assert names(informer, "other") == ["new"]
        await client.delete(CONFIGMAPS, "old", "default")
        await informer.wait_until(lambda: informer.get(Key("default", "old")) is None)
        assert names(informer) == ["new"]


@virtual
async def test_handlers_are_told_old_and_new():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    told = []
    async with Informers(client, VirtualClock()) as informers:
        informer = informers.get(CONFIGMAPS)
        made = await client.create(CONFIGMAPS, config_map("a"))
        await settle()
        informer.subscribe(
            lambda old, new: told.append((old and old.revision, new and new.revision))
        )
        changed = await client.update(CONFIGMAPS, {**made, "data": {"k": "w"}})
        await client.delete(CONFIGMAPS, "a", "default")
        await settle()
    first, second = (int(obj["metadata"]["resourceVersion"]) for obj in (made, changed))
    assert told == [(None, first), (first, second), (second, None)]


@virtual
async def test_who_unsubscribes_is_not_told_any_more():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    told = []
    async with Informers(client, VirtualClock()) as informers:
        end = informers.get(CONFIGMAPS).subscribe(lambda old, new: told.append(new))
        await settle()
        end()
        await client.create(CONFIGMAPS, config_map("a"))
        await settle()
    assert told == []


@virtual
async def test_a_lost_history_is_made_up_by_a_listing_and_told_as_changes():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    kept = await client.create(CONFIGMAPS, config_map("kept"))
    await client.create(CONFIGMAPS, config_map("deleted"))
    replaced = await client.create(CONFIGMAPS, config_map("replaced"))
    told = []
    async with Informers(client, VirtualClock()) as informers:
        informer = informers.get(CONFIGMAPS)
        await settle()
        informer.subscribe(
            lambda old, new: told.append(((old or new).key.name, old and old.uid, new and new.uid))
        )
        told.clear()
        # All of this happens between two steps of the loop, so the watch sees none of it.
        cluster.remove(CONFIGMAPS, cluster.table(CONFIGMAPS)[Key("default", "deleted")].obj)
        cluster.remove(CONFIGMAPS, cluster.table(CONFIGMAPS)[Key("default", "replaced")].obj)
        again = {**replaced, "metadata": {**replaced["metadata"], "uid": "uid-new"}}
        cluster.write(CONFIGMAPS, again)
        cluster.compact()
        await settle(60)
        assert names(informer) == ["kept", "replaced"]
        assert informer.get(Key("default", "kept")) == kept
    assert ("replaced", replaced["metadata"]["uid"], None) in told
    assert ("replaced", None, "uid-new") in told
    assert [name for name, _, _ in told].count("deleted") == 1
    assert [name for name, _, _ in told].count("kept") == 0


@virtual
async def test_a_server_that_cannot_be_reached_is_asked_again_with_growing_waits():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    asked = []
    listing = client.list

    async def failing(*args, **more):
        asked.append(asyncio.get_running_loop().time())
        if len(asked) < 6:
            raise ServiceUnavailableError("connection refused")
        return await listing(*args, **more)

    client.list = failing
    async with Informers(client, VirtualClock()) as informers:
        await informers.get(CONFIGMAPS).wait_synced()
    waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2])


@virtual
async def test_waiting_for_a_revision_that_never_comes_ends_with_an_error():
    cluster = ModelCluster(VirtualClock())
    async with Informers(cluster.client(), VirtualClock()) as informers:
        informer = informers.get(CONFIGMAPS)
        await informer.wait_synced()
        with pytest.raises(TimeoutError):
            await informer.wait_for(1000, timeout=5)


@virtual
async def test_objects_are_found_by_owner_uid_and_by_custom_indexes():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u1", "controller": True}
    await client.create(CONFIGMAPS, config_map("owned", ownerReferences=[owner]))
    other = {**owner, "controller": False}
    await client.create(CONFIGMAPS, config_map("adorned", ownerReferences=[other]))
    await client.create(CONFIGMAPS, config_map("free", labels={"app": "web"}))
    async with Informers(client, VirtualClock()) as informers:
        informer = informers.get(CONFIGMAPS)
        await informer.wait_synced()
        informer.add_index(
            "app", lambda item: [item.labels[k] for k in ("app",) if k in item.labels]
        )
        parent = {"metadata": {"name": "o", "uid": "u1"}}
        found = sorted(o["metadata"]["name"] for o in informer.owned_by("u1"))
        assert found == ["adorned", "owned"]
        assert [o["metadata"]["name"] for o in informer.controlled_by(parent)] == ["owned"]
        assert [item.key.name for item in informer.indexed("app", "web")] == ["free"]
        await client.delete(CONFIGMAPS, "free", "default")
        await settle()
        assert list(informer.indexed("app", "web")) == []


@virtual
async def test_a_selection_is_followed_apart_from_the_whole_kind():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    async with Informers(client, VirtualClock()) as informers:
        mine = informers.get(PODS, Selection(field_selector="spec.nodeName=n1"))
        everybody = informers.get(PODS)
        assert informers.get(PODS) is everybody
        for node in ("n1", "n2"):
            pod = {"metadata": {"name": node, "namespace": "d"}, "spec": {"nodeName": node}}
            await client.create(PODS, pod)
        await settle()
        assert (names(mine), names(everybody)) == (["n1"], ["n1", "n2"])


def test_every_state_knows_what_follows_a_failure_and_a_lost_history():
    for state in State:
        assert (state, Outcome.FAILED) in TRANSITIONS
        assert (state, Outcome.GONE) in TRANSITIONS


Step = st.tuples(st.sampled_from(["put", "delete", "compact", "pass"]), st.sampled_from("abc"))


@given(steps=st.lists(Step, max_size=40))
def test_whatever_happens_the_informer_ends_equal_to_the_server(steps: Sequence[tuple[str, str]]):
    async def scenario():
        cluster = ModelCluster(VirtualClock())
        client = cluster.client()
        replica = {}

        def follow(old, new):
            item = new or old
            assert (replica.get(item.key) is None) == (old is None)
            replica[item.key] = new

        async with Informers(client, VirtualClock()) as informers:
            informer = informers.get(CONFIGMAPS)
            informer.subscribe(follow)
            for number, (what, name) in enumerate(steps):
                key = Key("default", name)
                there = cluster.table(CONFIGMAPS).get(key)
                if what == "put" and there is None:
                    await client.create(CONFIGMAPS, config_map(name))
                elif what == "put":
                    await client.update(CONFIGMAPS, {**there.obj, "data": {"n": str(number)}})
                elif what == "delete" and there is not None:
                    await client.delete(CONFIGMAPS, name, "default")
                elif what == "compact":
                    cluster.compact()
                else:
                    await settle()
            await settle(60)
            wanted = {key: item.revision for key, item in cluster.table(CONFIGMAPS).items()}
            assert {item.key: item.revision for item in informer.items()} == wanted
            assert {key: item.revision for key, item in replica.items() if item} == wanted

    run(scenario())


def test_two_users_of_a_cache_cannot_take_one_name_for_two_indexes() -> None:
    store = ItemStore()

    def add(name: str) -> None:
        store.add_index(name, lambda item: (item.key.name,))

    add("by name")
    add("by name")
    with pytest.raises(ValueError, match="index 'by name' is another's"):
        store.add_index("by name", lambda item: (item.uid,))


class Ticking(VirtualClock):
    """Every look at this clock takes as long as one turn of the loop may."""

    ticks = 0.0

    def monotonic(self) -> float:
        self.ticks += 0.003
        return self.ticks


@virtual
async def test_others_have_their_turn_while_many_objects_are_told_of():
    cluster = ModelCluster(VirtualClock())
    client = cluster.client()
    for n in range(100):
        await client.create(CONFIGMAPS, config_map(f"c{n}"))
    early, late, turns = [], [], []
    async with Informers(client, Ticking()) as informers:
        informer = informers.get(CONFIGMAPS)
        informer.subscribe(lambda _, new: early.append(new.key.name))
        while not informer.synced:
            await asyncio.sleep(0)
            turns.append(len(informer))
            if len(informer) > 50 and not late:
                informer.subscribe(lambda _, new: late.append(new.key.name))
        assert sorted(early) == sorted(late) == sorted(item.key.name for item in informer.items())
    assert len(set(turns)) > 50
