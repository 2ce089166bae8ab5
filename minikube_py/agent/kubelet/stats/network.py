"""What the interfaces of a network namespace have carried: /proc/PID/net/dev of one within.

Any process of a pod's sandbox will do, so nothing has to be asked of the runtime and no namespace
has to be entered.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from minikube_py.agent.kubelet.stats.usage import text

PROC = Path("/proc")
_VIRTUAL = ("lo", "veth", "cali", "docker", "cni", "flannel", "tun", "ifb", "dummy")
"""Beginnings of the names of interfaces that are not a machine's own."""


class Interface(NamedTuple):
    """The counters of one interface since it was made."""

    name: str
    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def parse(content: str) -> Sequence[Interface]:
    """Return the interfaces that /proc/net/dev lists, without the loopback."""
    found = []
    for line in content.splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = [int(value) for value in rest.split()]
        if name.strip() != "lo" and len(values) >= 12:
            found.append(Interface(name.strip(), *values[:4], *values[8:12]))
    return found


def of_process(pid: int | str) -> Sequence[Interface]:
    """Return the interfaces that a process sees; none where it is gone."""
    return parse(text(PROC / str(pid) / "net" / "dev"))


def of_machine() -> Sequence[Interface]:
    """Return the machine's own interfaces, the one with the default route first."""
    default = default_interface(text(PROC / "net" / "route"))
    own = [one for one in of_process("self") if not one.name.startswith(_VIRTUAL)]
    return sorted(own, key=lambda one: one.name != default)


def default_interface(routes: str) -> str:
    """Return the interface of the default route, "" where there is none."""
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000":
            return fields[0]
    return ""
