"""Laws of all controllers, each alone with the objects that give it something to do.

Its work ends in a state in which it wants nothing more. Whatever goes wrong on the way (a refused
write, a conflict at each, the end of the process between any two, objects that vanish), it ends
in the same state, with nothing made twice, and after a bounded number of requests.
"""

import itertools
import logging
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from minikube_py.api.core import EVENTS
from minikube_py.api.errors import ConflictError, ServiceUnavailableError
from minikube_py.client.controller import Context, Identity, Part, Settings
from minikube_py.client.events import Recorder
from minikube_py.client.everything import Everything
from minikube_py.client.informer import Informers
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.controllers import CONTROLLERS
from tests.harness import World, harness
from tests.unit.server.controllers.scenarios import SCENARIOS, Scenario
from tests.virtual_time import run, settle

STEPS_MAX = 12
"""After so many writes of a controller nothing new can happen."""
RETRIES_MAX = 40
"""A key that fails is tried again after 5 ms, 10 ms, ... one minute."""
each_controller = pytest.mark.parametrize("part", CONTROLLERS, ids=lambda part: part.name)


class Process:
    """One controller with caches and a memory of its own, all of which end with it."""

    def __init__(self, world: World, part: Part) -> None:
        self._informers = Informers(world.cluster.client("informers"), world.clock)
        self._nursery = Nursery(part.name)
        everything = Everything(self._informers, world.scheme)
        client = world.cluster.client(part.name)
        events = Recorder(client, part.name, world.clock)
        clock, settings = world.clock, world.settings
        identity = Identity(client=client, events=events, clock=clock, settings=settings)

        async def work() -> None:
            await part.run(Context(identity, self._informers, everything))

        self._nursery.start("events", events.run())
        self._nursery.start(part.name, restarting(part.name, work, sleep=clock.sleep))

    async def die(self) -> None:
        await self._nursery.cancel()
        await self._informers.__aexit__()


def scenario_of(part: Part) -> Scenario:
    assert part.name in SCENARIOS, f"give {part.name} something to do in scenarios.py"
    return SCENARIOS[part.name]


async def seed(world: World, scenario: Scenario) -> None:
    for resource, obj in scenario.made:
        there = await world.client.create(resource, obj)
        if "status" in obj:
            world.cluster.write(resource, {**there, "status": obj["status"]})
    for resource, name in scenario.deleted:
        await world.client.delete(resource, name, "d" if resource.namespaced else "")


def writes(world: World, part: Part) -> list[Any]:
    made = (r for r in world.cluster.requests if r[0] == part.name and r[2] != "events")
    return [r for r in made if r[1] != "read" and not r[2].startswith("subjectaccessreviews")]


def state(world: World) -> list[str]:
    """Return all objects but events, without what differs from run to run."""
    found = []
    for path, table in world.cluster._tables.items():
        if not path.endswith("/events"):
            found += [_plain(path, item.data.decode()) for item in table.values()]
    return sorted(found)


def _plain(path: str, text: str) -> str:
    obj = orjson.loads(text)
    base = obj["metadata"].get("generateName")
    for name in ("resourceVersion", "generation"):
        obj["metadata"].pop(name, None)
    if base:
        obj["metadata"]["name"] = base
    if "conditions" in (status := obj.get("status") or {}):
        # Whether a replica set is told as made, as found or as failed before: as in upstream,
        # the last word stands until there is progress.
        status["conditions"] = [c for c in status["conditions"] if c["type"] != "Progressing"]
    text = orjson.dumps(obj, option=orjson.OPT_SORT_KEYS).decode()
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r'"request":"[^"]*"|"certificate":"[^"]*"', "PEM", text)
    text = re.sub(r"uid-\d+", "UID", text)
    text = re.sub(r'"resourceVersion":"\d+"', "VERSION", text)
    text = re.sub(r"-\d{5}\b", "-RANDOM", text)
    return f"{path} {text}"


def living(part: Part, disturb: Callable[[World, Process], None]) -> tuple[list[str], int]:
    """Run the scenario to its end with something disturbed; return the end and the writes."""
    scenario = scenario_of(part)

    async def life() -> tuple[list[str], int]:
        settings = {"root_ca": "PEM", **scenario.settings}
        async with harness(**settings) as world:
            await seed(world, scenario)
            process = Process(world, part)
            disturb(world, process)
            await settle(scenario.rest)
            await process.die()
            return state(world), len(writes(world, part))

    result: tuple[list[str], int] = run(life())
    return result


def undisturbed(*_: Any) -> None:
    pass


_CLEAN: dict[str, tuple[list[str], int]] = {}


def clean(part: Part) -> tuple[list[str], int]:
    """Return the end of an undisturbed life, and how many writes it took."""
    if part.name not in _CLEAN:
        _CLEAN[part.name] = living(part, undisturbed)
    return _CLEAN[part.name]


def test_every_controller_has_a_scenario_and_every_scenario_a_controller() -> None:
    assert {part.name for part in CONTROLLERS} == set(SCENARIOS)


@each_controller
def test_it_has_something_to_do_and_then_wants_nothing_more_even_when_it_starts_again(
    part: Part,
) -> None:
    scenario = scenario_of(part)

    async def life() -> None:
        async with harness(root_ca="PEM", **scenario.settings) as world:
            await seed(world, scenario)
            process = Process(world, part)
            await settle(scenario.rest)
            done = len(writes(world, part))
            assert done > 0 or (scenario.tells and world.cluster.objects(EVENTS))
            await settle(scenario.rest)
            assert writes(world, part)[done:] == []
            await process.die()
            process = Process(world, part)
            await settle(scenario.rest)
            assert writes(world, part)[done:] == []
            await process.die()

    run(life())


def refusing(part: Part, which: set[int], error: type[Exception]) -> Callable[..., None]:
    """Refuse the writes of these numbers."""

    def disturb(world: World, _: Process) -> None:
        numbers = itertools.count()

        def refuse(user: str, _verb: str, resource: Any, _obj: Any) -> None:
            if user == part.name and resource.plural != "events" and next(numbers) in which:
                raise error("refused by the test")

        world.cluster.refuse = refuse

    return disturb


@each_controller
@pytest.mark.parametrize("error", [ServiceUnavailableError, ConflictError])
def test_an_error_at_any_write_changes_nothing_in_the_end(
    part: Part, error: type[Exception]
) -> None:
    end, count = clean(part)
    for number in range(min(count, STEPS_MAX)):
        found, tried = living(part, refusing(part, {number}, error))
        assert found == end
        assert tried <= count + RETRIES_MAX


@each_controller
def test_a_conflict_at_every_other_write_changes_nothing_in_the_end(part: Part) -> None:
    end, count = clean(part)
    found, tried = living(part, refusing(part, set(range(0, 4 * count, 2)), ConflictError))
    assert found == end
    assert tried <= 4 * count + RETRIES_MAX


@each_controller
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_process_that_ends_at_any_write_is_made_up_for_by_the_next(
    part: Part,
    done: bool,  # noqa: FBT001
) -> None:
    end, count = clean(part)
    scenario = scenario_of(part)

    async def lives(last: int) -> list[str]:
        async with harness(root_ca="PEM", **scenario.settings) as world:
            await seed(world, scenario)
            process = Process(world, part)
            numbers = itertools.count()
            ended = False

            def refuse(user: str, _verb: str, resource: Any, _obj: Any) -> None:
                nonlocal ended
                if user != part.name or resource.plural == "events":
                    return
                if ended or next(numbers) == last:
                    if ended or not done:
                        raise ServiceUnavailableError("the process has ended")
                    ended = True

            world.cluster.refuse = refuse
            await settle(scenario.rest)
            await process.die()
            world.cluster.refuse = lambda *_: None
            process = Process(world, part)
            await settle(scenario.rest)
            await process.die()
            return state(world)

    for last in range(min(count, STEPS_MAX)):
        assert run(lives(last)) == end


@each_controller
def test_objects_that_vanish_at_any_write_lead_to_no_bug_and_no_hot_loop(
    part: Part, caplog: pytest.LogCaptureFixture
) -> None:
    _, count = clean(part)

    def vanishing(last: int) -> Callable[..., None]:
        def disturb(world: World, _: Process) -> None:
            numbers = itertools.count()

            def refuse(user: str, _verb: str, resource: Any, _obj: Any) -> None:
                if user != part.name or resource.plural == "events" or next(numbers) != last:
                    return
                for kind, made in scenario_of(part).made:
                    there = world.cluster.objects(kind)
                    for obj in [o for o in there if _name(o) == _name(made)]:
                        world.cluster.remove(kind, obj)

            world.cluster.refuse = refuse

        return disturb

    caplog.set_level(logging.ERROR)
    for last in range(min(count, STEPS_MAX)):
        _, tried = living(part, vanishing(last))
        assert tried <= count + RETRIES_MAX
    assert not [r for r in caplog.records if r.exc_info], caplog.text


def _name(obj: Any) -> str:
    name: str = obj["metadata"]["name"]
    return name


def test_a_controller_whose_writes_hang_does_not_hold_up_the_others() -> None:
    """As a webhook does that never answers."""

    async def life() -> None:
        async with harness() as world:
            stuck, free = (
                next(p for p in CONTROLLERS if p.name == name)
                for name in ("replicaset-controller", "deployment-controller")
            )
            for name in (stuck.name, free.name):
                await seed(world, SCENARIOS[name])
            world.settings = Settings()
            client = world.cluster.client(stuck.name)

            async def hang(*_: Any, **__: Any) -> Any:
                await settle(1e9)

            client.create = hang  # type: ignore[method-assign]
            context = world.context_for(stuck.name)
            identity = Identity(
                client=client, events=context.events, clock=world.clock, settings=world.settings
            )
            hung = Context(identity, world.informers, world.everything)
            world.nursery.start("stuck", stuck.run(hung))
            world.run(free)
            await settle(60)
            assert not [r for r in writes(world, stuck) if r[1] == "create"]
            assert [r for r in writes(world, free) if r[1] == "create"]

    run(life())
