"""The runtime: which keys are looked at, own writes are seen, errors are retried, plans batched."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import CONFIGMAPS, EVENTS, PODS, SECRETS
from minikube_py.api.errors import (
    ConflictError,
    ForbiddenError,
    ServiceUnavailableError,
)
from minikube_py.api.object import Key, key_of, owner_reference
from minikube_py.client.actions import Create, Delete, Emit, Patch, Update
from minikube_py.client.controller import Also, Controller
from minikube_py.client.executor import BATCH_MAX, _batches
from tests.harness import harness
from tests.virtual_time import settle, virtual


def config_map(name, **more):
    return {"metadata": {"name": name, "namespace": "d", **more}}


@virtual
async def test_the_owner_of_what_changed_is_looked_at():
    looked = []

    async def reconcile(key, ctx):
        looked.append(key)

    controller = Controller(name="c", watches=CONFIGMAPS, owns=(SECRETS,), reconcile=reconcile)
    async with harness() as world:
        world.run(controller)
        owner = await world.client.create(CONFIGMAPS, config_map("owner"))
        await settle()
        secret = {"metadata": {"name": "s", "namespace": "d"}}
        secret["metadata"]["ownerReferences"] = [owner_reference(owner)]
        await world.client.create(SECRETS, secret)
        await settle()
        await world.client.delete(SECRETS, "s", "d")
        await settle()
    assert looked == [Key("d", "owner")] * 3


@virtual
async def test_another_kind_may_lead_to_keys_by_a_function():
    looked = []

    async def reconcile(key, ctx):
        looked.append(key)

    def of_secret(old, new, ctx):
        yield Key("d", (new or old).key.name)

    controller = Controller(
        name="c", watches=CONFIGMAPS, also=(Also(SECRETS, of_secret),), reconcile=reconcile
    )
    async with harness() as world:
        world.run(controller)
        await world.client.create(SECRETS, {"metadata": {"name": "x", "namespace": "d"}})
        await settle()
    assert looked == [Key("d", "x")]


@virtual
async def test_what_a_reconcile_wrote_is_in_the_cache_when_apply_returns():
    seen = []

    async def reconcile(key, ctx):
        if key.name != "first":
            return
        created = Create(CONFIGMAPS, config_map("second"))
        await ctx.apply([created])
        seen.append(ctx.lister(CONFIGMAPS).get(Key("d", "second")) is not None)
        item = ctx.lister(CONFIGMAPS).item(key)
        await ctx.apply([Delete(CONFIGMAPS, key, item.uid)])
        seen.append(ctx.lister(CONFIGMAPS).get(key))

    async with harness() as world:
        world.run(Controller(name="c", watches=CONFIGMAPS, reconcile=reconcile))
        await world.client.create(CONFIGMAPS, config_map("first"))
        await settle()
    assert seen == [True, None]


@virtual
async def test_a_failed_reconcile_is_tried_again_and_a_good_one_is_not():
    looked = []
    errors = [ServiceUnavailableError("away"), ConflictError("changed"), RuntimeError("bug")]

    async def reconcile(key, ctx):
        looked.append(asyncio.get_running_loop().time())
        if errors:
            raise errors.pop()

    async with harness() as world:
        world.run(Controller(name="c", watches=CONFIGMAPS, reconcile=reconcile))
        await world.client.create(CONFIGMAPS, config_map("a"))
        await settle(600)
    assert len(looked) == 4


@virtual
async def test_a_reconcile_may_ask_to_look_again():
    looked = []

    async def reconcile(key, ctx):
        looked.append(asyncio.get_running_loop().time())
        return 10.0 if len(looked) < 3 else None

    async with harness() as world:
        world.run(Controller(name="c", watches=CONFIGMAPS, reconcile=reconcile))
        await world.client.create(CONFIGMAPS, config_map("a"))
        await settle(100)
    assert [round(moment) for moment in looked] == [0, 10, 20]


@virtual
async def test_an_idle_controller_sets_no_timer():
    async def reconcile(key, ctx):
        return None

    async with harness() as world:
        world.run(Controller(name="c", watches=CONFIGMAPS, reconcile=reconcile))
        await world.client.create(CONFIGMAPS, config_map("a"))
        await settle()
        with pytest.raises(RuntimeError, match="deadlock"):
            asyncio.get_running_loop()._run_once()


@virtual
async def test_a_creation_in_a_namespace_that_goes_away_is_not_tried_again():
    looked = []

    async def reconcile(key, ctx):
        looked.append(key)
        causes = [{"reason": "NamespaceTerminating"}]
        raise ForbiddenError("being terminated", causes=causes)

    async with harness() as world:
        world.run(Controller(name="c", watches=CONFIGMAPS, reconcile=reconcile))
        await world.client.create(CONFIGMAPS, config_map("a"))
        await settle(600)
    assert len(looked) == 1


@virtual
async def test_the_first_failed_batch_is_the_last_and_is_announced():
    refused = []

    def refuse(user, verb, resource, obj):
        if verb == "create" and resource is PODS:
            refused.append(obj)
            raise ForbiddenError("exceeded quota")

    async with harness() as world:
        world.cluster.refuse = refuse
        owner = await world.client.create(CONFIGMAPS, config_map("owner"))
        pods = [Create(PODS, config_map(f"p{n}"), owner) for n in range(50)]
        with pytest.raises(ForbiddenError):
            await world.context.apply(pods)
        await settle()
        events = world.cluster.objects(EVENTS)
    assert len(refused) == 1
    assert [(e["reason"], e["message"]) for e in events] == [
        ("FailedCreate", "Error creating: exceeded quota")
    ]


@virtual
async def test_success_is_announced_in_upstreams_words():
    async with harness() as world:
        owner = await world.client.create(CONFIGMAPS, config_map("owner"))
        (pod,) = await world.context.apply([Create(PODS, config_map("p"), owner)])
        await world.context.apply([Delete(PODS, key_of(pod), pod["metadata"]["uid"], owner)])
        await settle()
        events = world.cluster.objects(EVENTS)
    assert [(e["type"], e["reason"], e["message"]) for e in events] == [
        ("Normal", "SuccessfulCreate", "Created pod: p"),
        ("Normal", "SuccessfulDelete", "Deleted pod: p"),
    ]


@virtual
async def test_deleting_what_is_gone_is_no_error_and_another_of_the_name_is_not_deleted():
    async with harness() as world:
        await world.context.apply([Delete(CONFIGMAPS, Key("d", "none"), "uid-0")])
        await world.client.create(CONFIGMAPS, config_map("a"))
        with pytest.raises(ConflictError):
            await world.context.apply([Delete(CONFIGMAPS, Key("d", "a"), "uid-of-another")])
        assert len(world.cluster.objects(CONFIGMAPS)) == 1


@virtual
async def test_updates_and_patches_reach_the_server():
    async with harness() as world:
        made = await world.client.create(CONFIGMAPS, config_map("a"))
        (updated,) = await world.context.apply([Update(CONFIGMAPS, {**made, "data": {"a": "1"}})])
        (patched,) = await world.context.apply(
            [Patch(CONFIGMAPS, key_of(made), {"data": {"b": "2"}})]
        )
    assert updated["data"] == {"a": "1"}
    assert patched["data"] == {"a": "1", "b": "2"}


action = st.sampled_from(
    [
        Create(PODS, config_map("p")),
        Delete(PODS, Key("d", "p"), "u"),
        Update(PODS, config_map("p")),
        Create(CONFIGMAPS, config_map("c")),
        Emit(config_map("c"), "Normal", "R", "m"),
    ]
)


@given(plan=st.lists(action, max_size=400))
def test_batches_keep_the_order_and_hold_only_like_writes(plan):
    flat = []
    for batch in _batches(iter(plan)):
        if isinstance(batch, Emit):
            flat.append(batch)
            continue
        assert 1 <= len(batch) <= BATCH_MAX
        assert len({(type(one), id(one.resource)) for one in batch}) == 1
        assert len(batch) == 1 or isinstance(batch[0], Create | Delete)
        flat += batch
    assert flat == plan


@virtual
async def test_a_key_that_is_looked_at_without_end_rests_between_the_looks():
    """Two loops that undo each other's work would go on as fast as the machine can."""
    looks = []

    async def reconcile(key, ctx):
        looks.append(asyncio.get_running_loop().time())
        found = ctx.lister(CONFIGMAPS).get(key)
        data = {"n": str(len(looks))}
        await ctx.apply([Update(CONFIGMAPS, {**found, "data": data})])

    async with harness() as world:
        await world.client.create(CONFIGMAPS, config_map("a"))
        world.run(Controller(name="c", watches=CONFIGMAPS, reconcile=reconcile))
        await settle(10)
        assert 120 <= len(looks) <= 150
        assert looks[95] < 1
