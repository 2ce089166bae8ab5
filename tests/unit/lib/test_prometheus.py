"""The text in which Prometheus reads metrics."""

import asyncio
import bisect

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.lib import process, stacks
from minikube_py.lib.prometheus import Histogram, histograms, metric


def test_a_metric_has_one_head_and_its_labels_are_escaped() -> None:
    lines = list(metric("a_total", "counter", "Of a.", [({"b": 'x"\\\n'}, 1), ({}, 0.5)]))
    assert lines == [
        "# HELP a_total Of a.",
        "# TYPE a_total counter",
        r'a_total{b="x\"\\\n"} 1',
        "a_total 0.5",
    ]
    assert not list(metric("nothing", "gauge", "Of nothing.", []))


@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_every_value_once(values: list[float]) -> None:
    bounds = (0.5, 1.0, 10.0)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    lines = list(histograms("h", "H.", [({"k": "v"}, histogram)]))[2:]
    counts = [int(line.rpartition(" ")[2]) for line in lines if "_bucket" in line]
    ordered = sorted(values)
    assert counts == [*(bisect.bisect_right(ordered, bound) for bound in bounds), len(values)]
    assert lines[-1] == f'h_count{{k="v"}} {len(values)}'
    assert histogram.count == len(values)


def test_the_process_is_described_by_numbers() -> None:
    lines = list(process.lines())
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(values["process_resident_memory_bytes"]) > 1_000_000
    assert float(values["process_open_fds"]) > 0
    assert len(lines) == 3 * len(values)


async def test_a_task_is_shown_down_to_what_it_waits_for() -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    task = asyncio.get_running_loop().create_task(outer(), name="shown")
    await asyncio.sleep(0)
    text = stacks.render(asyncio.get_running_loop())
    block = text.partition("shown:\n")[2].partition("\n\n")[0]
    places = [line.rpartition(" in ")[2].rpartition(".")[2] for line in block.splitlines()]
    assert places[:3] == ["outer", "inner", "wait"]
    task.cancel()
