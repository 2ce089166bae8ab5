"""The table of figures, on the terminal and in docs/performance.md."""

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/performance.md"
START, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
NODE_START, NODE_END = "<!-- node: written by make bench -->", "<!-- end of node -->"
NETWORK_START = "<!-- network: written by make bench -->"
NETWORK_END = "<!-- end of network -->"
STORES_START, STORES_END = "<!-- datastore: written by make bench -->", "<!-- end of datastore -->"
LARGE_START, LARGE_END = "<!-- large: written by make bench -->", "<!-- end of large -->"


@dataclass(frozen=True)
class Figure:
    """One thing measured."""

    name: str
    value: float
    unit: str
    budget: float
    note: str = ""
    reference: float | None = None
    """The same of kube-apiserver and etcd together, where they were measured in the same run."""

    @property
    def kept(self) -> bool:
        """Whether the budget was kept."""
        return self.value <= self.budget

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        ratio = f"{self.value / self.budget:.2f}"
        value, budget = (f"{number:.3g}" for number in (self.value, self.budget))
        value = f"{self.value:.0f}" if self.value >= 100 else value
        cells = self.name, f"{value} {self.unit}", f"{budget} {self.unit}", ratio
        if self.reference is None:
            return *cells, self.note
        beside = f"{self.reference:.3g} {self.unit}, ratio {self.value / self.reference:.2f}"
        return *cells, f"{self.note}; kube-apiserver and etcd: {beside}"


@dataclass(frozen=True)
class Result:
    """What one run measured."""

    figures: Sequence[Figure]
    yardsticks: Sequence[float]
    """CPU milliseconds of one and the same piece of Python, between the measurements."""
    large: Sequence[Figure] = ()
    """Of the whole control plane, with simulated nodes."""
    node: Sequence[Figure] = ()
    """Of a node with containers."""
    network: Sequence[Figure] = ()
    """Of services and pods in network namespaces."""
    stores: Sequence[Sequence[str]] = ()
    """Of each datastore, whatever has no budget: the rows of a table, its head first."""
    datastore: Sequence[Figure] = ()
    """Of the datastores, whatever has one."""

    @property
    def pace(self) -> str:
        """How fast the machine was: figures of two runs compare only where this is alike."""
        low, high = min(self.yardsticks), max(self.yardsticks)
        return f"the yardstick (a fixed loop) took {low:.0f} to {high:.0f} ms"


HEAD = ("operation", "measured", "budget", "ratio", "how")


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a Markdown table with even columns."""
    return even([HEAD, *(figure.cells for figure in figures)])


def even(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the head first, as a Markdown table with even columns."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
             for row in rows]  # fmt: skip
    rule = "|".join("-" * (width + 2) for width in widths)
    head, *rest = (f"| {line} |" for line in lines)
    return "\n".join([head, f"|{rule}|", *rest])


def write(result: Result) -> None:
    """Put the table and the machine it was measured on into the documentation."""
    load = os.getloadavg()[0]
    about = (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPUs ({_processor()}), load average {load:.1f} at the end, "
        f"{result.pace}."
    )
    text = PAGE.read_text()
    for start, end, figures in (
        (START, END, result.figures),
        (LARGE_START, LARGE_END, result.large),
        (NODE_START, NODE_END, result.node),
        (NETWORK_START, NETWORK_END, result.network),
        (STORES_START, STORES_END, result.datastore),
    ):
        if figures:
            stores = f"{even(result.stores)}\n\n" if start == STORES_START else ""
            block = f"{start}\n{about}\n\n{stores}{table(figures)}\n{end}"
            pattern = re.compile(f"{re.escape(start)}.*{re.escape(end)}", re.DOTALL)
            text = pattern.sub(lambda _, block=block: block, text)
    PAGE.write_text(text)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
