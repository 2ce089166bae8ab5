"""The fabric does what tests of several nodes rely on: it carries, cuts, loses and delays."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fabric import Fabric
from tests.e2e.node.machine import Machine, wait_until

NAMES = ("f1", "f2", "f3")


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    made = Fabric()
    yield made
    made.close()


@pytest.fixture(scope="module")
def machines(fabric: Fabric, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    folder = tmp_path_factory.mktemp("machines")
    made = []
    try:
        for number, name in enumerate(NAMES, start=1):
            (folder / name).mkdir()
            made.append(Machine(name, folder / name, f"192.168.70.{number}"))
            fabric.connect(made[-1])
        yield made
    finally:
        for machine in made:
            machine.close()


def ping(source: Machine, target: Machine, count: int = 1) -> str:
    """Return what ping says, also where nothing came back."""
    words = ("busybox", "ping", "-q", "-W2", f"-c{count}", target.address)
    return source.sh(*words, check=False)


def reaches(source: Machine, target: Machine) -> bool:
    return " 0% packet loss" in ping(source, target)


def reached(source: Machine, target: Machine) -> None:
    """Wait until one is reached: a busy machine may answer a single ping too late."""
    wait_until(lambda: reaches(source, target), 30, f"{target.name} is reached")


def test_machines_reach_each_other(machines: list[Machine]) -> None:
    one, two, three = machines
    reached(one, two)
    reached(three, one)


def test_a_cut_is_between_two_and_can_be_mended(fabric: Fabric, machines: list[Machine]) -> None:
    one, two, three = machines
    fabric.cut(one, two)
    assert not reaches(one, two)
    assert not reaches(two, one)
    reached(one, three)
    reached(three, two)
    fabric.mend(one, two)
    reached(one, two)


def test_a_line_delays_and_loses_as_much_as_it_is_told(
    fabric: Fabric, machines: list[Machine]
) -> None:
    one, two, three = machines
    fabric.slow(two, delay_ms=40)
    reached(one, two)
    times = wait_until(
        lambda: re.search(r"min/avg/max = ([\d.]+)", ping(one, two, 2)), 30, "it is measured"
    )
    assert float(times[1]) >= 80
    fabric.cut(one, two)
    assert not reaches(one, two)
    reached(three, two)
    fabric.mend(one, two)
    fabric.fast(two)
    fabric.slow(two, loss_percent=100)
    assert not reaches(one, two)
    fabric.fast(two)
    reached(one, two)


def test_a_machine_that_crashed_comes_back_with_its_disk(
    fabric: Fabric, machines: list[Machine]
) -> None:
    one, _, three = machines
    kept = Path(three.folder) / "kept"
    kept.write_text("kept")
    three.crash()
    assert not reaches(one, three)
    three.boot()
    fabric.connect(three)
    assert three.sh("cat", str(kept)) == "kept"
    reached(one, three)  # the neighbours forget its old address
