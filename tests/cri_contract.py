"""What kpy relies on in a container runtime: the model of the tests and real ones keep it alike.

A scenario gets a runtime and the configurations of a sandbox and of containers. Three containers
are known by name: `ends` ends with 3 by itself, `stays` runs until it is told to end, `stubborn`
does not listen to that.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from minikube_py.agent.cri.errors import CriNotFoundError
from minikube_py.agent.cri.runtime import Container

CONTAINER_NAMES = ("ends", "stays", "stubborn")


@dataclass(frozen=True)
class Case:
    """One runtime, and how a test asks it for things."""

    runtime: Any
    sandbox: Mapping[str, Any]
    containers: Mapping[str, Mapping[str, Any]]
    """By name."""
    sleep: Callable[[float], Awaitable[None]]
    labels: Mapping[str, str]
    """What the sandbox and its containers are found by."""

    async def state(self, key: str, wanted: str) -> Container:
        """Wait until a container is in a state."""
        for _ in range(200):
            found: Container = await self.runtime.container_status(key)
            if found.state == wanted:
                return found
            await self.sleep(0.1)
        raise AssertionError(f"{found} is not {wanted}")


async def keep(case: Case) -> None:
    """Go through the life of a sandbox with three containers."""
    runtime = case.runtime
    sandbox = await runtime.run_sandbox(case.sandbox)
    (listed,) = await runtime.list_sandboxes(case.labels)
    assert (listed.id, listed.ready, listed.attempt) == (sandbox, True, 0)
    assert len((await runtime.sandbox_status(sandbox)).ips) >= 1
    assert await runtime.list_sandboxes({"another": "label"}) == []

    ids = {}
    for name in CONTAINER_NAMES:
        ids[name] = await runtime.create_container(sandbox, case.containers[name], case.sandbox)
        made = await runtime.container_status(ids[name])
        assert (made.state, made.name, made.attempt) == ("created", name, 0)
        assert made.annotations == case.containers[name]["annotations"]
        await runtime.start_container(ids[name])
    assert {one.id for one in await runtime.list_containers(case.labels)} == set(ids.values())

    ended = await case.state(ids["ends"], "exited")
    assert (ended.exit_code, ended.reason) == (3, "Error")
    assert ended.finished_at >= ended.started_at >= ended.created_at > 0
    running = await case.state(ids["stays"], "running")
    assert running.started_at > 0

    assert (await runtime.exec_sync(ids["stays"], ["true"], 5)).exit_code == 0
    assert (await runtime.exec_sync(ids["stays"], ["false"], 5)).exit_code == 1

    for name, codes in (("stays", (143,)), ("stubborn", (137,))):
        await runtime.stop_container(ids[name], 1)
        assert (await case.state(ids[name], "exited")).exit_code in codes
        await runtime.stop_container(ids[name], 1)  # it may be said again

    await runtime.remove_container(ids["ends"])
    await runtime.remove_container(ids["ends"])
    with pytest.raises(CriNotFoundError):
        await runtime.container_status(ids["ends"])

    await runtime.stop_sandbox(sandbox)
    await runtime.stop_sandbox(sandbox)
    (listed,) = await runtime.list_sandboxes(case.labels)
    assert not listed.ready
    await runtime.remove_sandbox(sandbox)
    await runtime.remove_sandbox(sandbox)
    assert await runtime.list_sandboxes(case.labels) == []
    assert await runtime.list_containers(case.labels) == []
    with pytest.raises(CriNotFoundError):
        await runtime.sandbox_status(sandbox)
