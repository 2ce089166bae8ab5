"""The cable between machines: a bridge in a network of its own, on which tests cut, lose and delay.

    machine n1: uplink -- to-fabric ===== n1 -- fabric -- n2 ===== to-fabric -- uplink: machine n2

Cutting is a rule of nftables in the bridge. Loss and delay need no help of the kernel's queues
either (netem is not in every kernel): the machine's end moves to a bridge of its own, and a small
program carries frames between that and the fabric (`slow_line.py`).
"""

import subprocess
import sys
from pathlib import Path

from tests.e2e import slow_line
from tests.e2e.node.machine import Machine, wait_until

TABLE = "cuts"
CUTS = f"""
table bridge {TABLE} {{
  set pairs {{ type ifname . ifname; }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname . oifname @pairs drop
  }}
}}
"""
BEGIN = """
ip link set lo up
ip link add fabric type bridge
ip link set fabric up
echo ready
exec sleep infinity
"""


class Fabric:
    """A bridge that machines are connected to; ends with `close`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["unshare", "--net", "sh", "-ec", BEGIN], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self._slow: dict[str, subprocess.Popen[bytes]] = {}
        self._sh("nft", "-f", "-", stdin=CUTS)
        for switch in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*tables"):
            # Frames between machines are not to meet rules of this network.
            self._sh("sh", "-c", f"echo 0 > {switch}")

    def _sh(self, *command: str, stdin: str = "") -> str:
        line = ["nsenter", f"--net=/proc/{self._process.pid}/ns/net", *command]
        done = subprocess.run(line, check=False, capture_output=True, text=True, input=stdin)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def connect(self, machine: Machine) -> None:
        """Connect a machine's uplink; the cable goes with the machine."""
        # What a machine had before it crashed goes a moment after it.
        wait_until(lambda: machine.name not in self._links(), 10, "the old end is gone")
        peer = ("peer", "name", "to-fabric", "netns", str(machine.pid))
        self._sh("ip", "link", "add", machine.name, "type", "veth", *peer)
        self._sh("ip", "link", "set", machine.name, "master", "fabric", "up")
        net = f"--net=/proc/{machine.pid}/ns/net"
        up = ["ip", "link", "set", "to-fabric", "master", "uplink", "up"]
        subprocess.run(["nsenter", net, *up], check=True)

    def _links(self) -> set[str]:
        shown = self._sh("ip", "-o", "link", "show").splitlines()
        return {line.split(": ")[1].partition("@")[0] for line in shown}

    def cut(self, one: Machine, other: Machine) -> None:
        """Let no frame pass between two machines; both go on hearing all others."""
        self._sh("nft", "add", "element", "bridge", TABLE, "pairs", self._pairs(one, other))

    def mend(self, one: Machine, other: Machine) -> None:
        """Take a cut back."""
        self._sh("nft", "delete", "element", "bridge", TABLE, "pairs", self._pairs(one, other))

    def _pairs(self, one: Machine, other: Machine) -> str:
        ends = [self._port(machine) for machine in (one, other)]
        return f"{{ {ends[0]} . {ends[1]}, {ends[1]} . {ends[0]} }}"

    def _port(self, machine: Machine) -> str:
        """Return the port of the fabric behind which a machine is."""
        return f"{machine.name}-far" if machine.name in self._slow else machine.name

    def slow(self, machine: Machine, *, delay_ms: int = 0, loss_percent: int = 0) -> None:
        """Delay each frame from and to a machine, and lose some; `fast` takes it back."""
        near, far = f"{machine.name}-near", f"{machine.name}-far"
        line = [sys.executable, slow_line.__file__, near, far, str(delay_ms), str(loss_percent)]
        enter = ["nsenter", f"--net=/proc/{self._process.pid}/ns/net"]
        process = subprocess.Popen([*enter, *line], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        self._slow[machine.name] = process
        bridge = f"{machine.name}-br"
        self._sh("ip", "link", "add", bridge, "type", "bridge")
        for link, master in ((machine.name, bridge), (near, bridge), (far, "fabric")):
            self._sh("ip", "link", "set", link, "master", master, "up")
        self._sh("ip", "link", "set", bridge, "up")

    def fast(self, machine: Machine) -> None:
        """Connect a machine without delay and loss again."""
        _end(self._slow.pop(machine.name))
        self._sh("ip", "link", "set", machine.name, "master", "fabric")
        self._sh("ip", "link", "del", f"{machine.name}-br")

    def close(self) -> None:
        """Remove it with all ends of cables."""
        for process in (*self._slow.values(), self._process):
            _end(process)
        self._slow.clear()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
