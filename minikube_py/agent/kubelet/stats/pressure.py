"""How long the processes of a group wait for processors, memory and disks (PSI).

The kernel tells in version 2 of its tree, also where that is only mounted beside version 1, and in
/proc/pressure for the whole machine. `some` counts while any of them waits, `full` while none of
them gets on. https://docs.kernel.org/accounting/psi.html
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.kubelet.cgroups import Cgroups

KINDS = ("cpu", "memory", "io")
MACHINE = Path("/proc/pressure")


class Stall(NamedTuple):
    """Time that was lost."""

    total: int
    """Microseconds since the group began."""
    avg10: float
    """Percent of the last ten seconds."""
    avg60: float
    avg300: float

    def document(self) -> dict[str, float]:
        """Return it as the summary of the kubelet has it."""
        return self._asdict()


class Pressure(NamedTuple):
    """What is lost for want of one thing."""

    full: Stall
    some: Stall


NONE = Stall(0, 0.0, 0.0, 0.0)


def read(trees: Cgroups, group: str) -> Mapping[str, Pressure]:
    """Return the pressure of a group by kind, as far as the kernel tells; blocks for its files."""
    if group == "/":
        return _read({kind: MACHINE / kind for kind in KINDS})
    if trees.unified is None:
        return {}
    folder = trees.unified / group.lstrip("/")
    return _read({kind: folder / f"{kind}.pressure" for kind in KINDS})


def _read(files: Mapping[str, Path]) -> dict[str, Pressure]:
    found = {}
    for kind, path in files.items():
        try:
            text = path.read_text()
        except OSError:  # not there, or PSI is switched off
            continue
        if text:
            found[kind] = parse(text)
    return found


def parse(text: str) -> Pressure:
    """Parse the lines `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and `full ...`."""
    lines = {name: rest for name, _, rest in (line.partition(" ") for line in text.splitlines())}
    return Pressure(full=_stall(lines.get("full", "")), some=_stall(lines.get("some", "")))


def _stall(text: str) -> Stall:
    values = dict(part.split("=", 1) for part in text.split() if "=" in part)
    if not values:
        return NONE
    averages = (float(values.get(name, 0)) for name in ("avg10", "avg60", "avg300"))
    return Stall(int(values.get("total", 0)), *averages)


def documents(pressures: Mapping[str, Pressure]) -> Mapping[str, dict[str, dict[str, float]]]:
    """Return pressures as the summary of the kubelet has them, by kind."""
    return {
        kind: {"full": one.full.document(), "some": one.some.document()}
        for kind, one in pressures.items()
    }
