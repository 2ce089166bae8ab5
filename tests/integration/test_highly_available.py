"""Three servers as programs, each with a member of etcd: any one of them may die."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.machines import Machine, wait_for


@pytest.fixture
def three(tmp_path: Path) -> Iterator[tuple[Machine, Machine, Machine]]:
    first = Machine(tmp_path / "1", 1, "--cluster-init")
    machines = [first]
    try:
        first.start()
        token = first.kpy("token").strip()
        for number in (2, 3):
            join = (f"--server=https://127.0.0.1:{first.port}", f"--token={token}")
            machines.append(Machine(tmp_path / str(number), number, *join))
            machines[-1].start()
        yield machines[0], machines[1], machines[2]
    finally:
        for machine in machines:
            machine.lose()


def test_two_of_three_servers_go_on_and_the_lost_one_comes_back(
    three: tuple[Machine, Machine, Machine],
) -> None:
    first, second, third = three
    wait_for(lambda: first.make("before"), first.told)
    wait_for(lambda: second.has("before"), second.told)
    wait_for(lambda: third.has("before"), third.told)
    first.lose()
    wait_for(lambda: second.make("during"), second.told)
    wait_for(lambda: third.has("during"), third.told)
    first.start()
    wait_for(lambda: first.has("during"), first.told)
    # Without most of the members nothing is promised, and that is said.
    second.lose()
    third.lose()
    refused = first.refused("get", "namespaces", "--request-timeout=30s")
    assert "unavailable" in refused.lower() or "timeout" in refused.lower(), refused
    assert first.process is not None
    assert first.process.poll() is None
    second.start()
    wait_for(lambda: first.has("during"), first.told)
    wait_for(lambda: first.make("after"), first.told)
    wait_for(lambda: second.has("after"), second.told)
