"""What the pod network needs of the kernel: a bridge, addresses, routes and switches.

All calls block for about a millisecond and are made from a worker thread. All may be repeated:
each compares what is there with what is wanted.
"""

import contextlib
import logging
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from minikube_py.agent.network.netlink import netlink, refusal

log = logging.getLogger(__name__)
PROTOCOL = 75
"""Marks our routes among others (the numbers above 4 are free for routing daemons)."""
MAIN_TABLE = 254
LABEL = "lo:kpy"
"""Marks our IPv4 addresses on the loopback link; the kernel wants its name in front."""
COMMENT = "kpy"
"""Marks our rules among others' in iptables."""
BRIDGE_MTU_MAX = 65535
"""The loopback link has one byte more."""
SYSCTL_ROOT = Path("/proc/sys")
NO_DAD = 0x02
"""IFA_F_NODAD: an IPv6 address counts at once."""
UNIVERSE, HOST = 0, 254
"""Scopes of addresses: the latter is never chosen as a source for others."""
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/forwarding": "1",
    # Without it a pod that reaches a neighbour on the bridge through a service gets the answer
    # from an address that it never asked.
    "net/bridge/bridge-nf-call-iptables": "1",
}
SYSCTLS_V6 = {
    "net/ipv6/conf/all/forwarding": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
}


def set_switches(*, ipv6: bool, root: Path = SYSCTL_ROOT) -> None:
    """Make the kernel forward packets, also those that a bridge passes on."""
    wanted = SYSCTLS | (SYSCTLS_V6 if ipv6 else {})
    if not (root / "net/bridge").exists() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True, timeout=10)
    for name, value in wanted.items():
        set_switch(name, value, root)


def set_switch(name: str, value: str, root: Path = SYSCTL_ROOT) -> None:
    """Set one sysctl (`net/ipv4/ip_forward`) where it differs.

    One that cannot be set is logged: others may have done what is needed in another way.
    """
    path = root / name
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except OSError as error:
        log.warning("sysctl not set name=%s value=%s error=%s", name, value, error.strerror)


def silence_redirects(link: str, root: Path = SYSCTL_ROOT) -> None:
    """Have pods behind a link never told of a shorter way: there is none but through this node.

    Such messages would also use up what the kernel allows itself of errors to a pod, and a
    datagram to a service without endpoints would not be refused. Other links keep their own switch.
    """
    for name in ("all", link):
        set_switch(f"net/ipv4/conf/{name}/send_redirects", "0", root)


def accept_forwarded(cidrs: Sequence[str]) -> None:
    """Let packets of pods pass where others forbid all forwarding, as Docker's rules do.

    An `accept` of ours in nftables would not overrule their `drop`; only their own chain can.
    """
    for cidr in cidrs:
        program = "ip6tables" if ":" in cidr else "iptables"
        if shutil.which(program) is None:
            continue
        for direction in ("-s", "-d"):
            mark = ["-m", "comment", "--comment", COMMENT]
            rule = ["FORWARD", direction, cidr, *mark, "-j", "ACCEPT"]
            if _runs(program, "-w", "-C", *rule) == "":
                continue
            if complaint := _runs(program, "-w", "-I", *rule):
                log.warning("forwarding rule not made cidr=%s error=%s", cidr, complaint)


def _runs(*command: str) -> str:
    """Run a program; return "" where it succeeds, and what it complains of where not."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"status {done.returncode}"


def ensure_bridge(name: str, addresses: Sequence[str], mtu: int) -> None:
    """Have a bridge that is up with exactly these global addresses (`10.42.0.1/24`)."""
    with netlink() as socket:
        index = _index(socket, name)
        if index is None:
            socket.link("add", ifname=name, kind="bridge", **({"mtu": mtu} if mtu else {}))
            index = _index(socket, name)
        socket.link("set", index=index, state="up")
        current = {
            f"{entry.get('address')}/{entry['prefixlen']}"
            for entry in socket.get_addr(index=index)
            if entry["scope"] == UNIVERSE
        }
        for address in current - set(addresses):
            ip, _, prefix = address.partition("/")
            socket.addr("del", index=index, address=ip, prefixlen=int(prefix))
        for address in set(addresses) - current:
            ip, _, prefix = address.partition("/")
            # A bridge without ports has no carrier, which would keep an IPv6 address tentative.
            flags = {"flags": NO_DAD} if ":" in ip else {}
            socket.addr("add", index=index, address=ip, prefixlen=int(prefix), **flags)


def ensure_local_address(address: str) -> None:
    """Make an address local to this node, on `lo`, so that a server can listen on it."""
    prefix = 128 if ":" in address else 32
    with netlink() as socket:
        index = _index(socket, "lo")
        if not list(socket.get_addr(index=index, address=address)):
            # While the kernel looks whether others have it, nobody may listen on it.
            more = {"flags": NO_DAD} if ":" in address else {"scope": HOST, "label": LABEL}
            socket.addr("add", index=index, address=address, prefixlen=prefix, **more)
        socket.link("set", index=index, state="up")


def has_default_route() -> bool:
    """Tell whether packets for unknown networks have somewhere to go."""
    with netlink() as socket:
        return any(
            route["dst_len"] == 0 and route.get("oif") is not None
            for route in socket.get_routes(family=2, table=MAIN_TABLE)
        )


def ensure_device_route(cidr: str, link: str) -> None:
    """Have a route to a network through a link without a gateway."""
    with netlink() as socket:
        socket.route("replace", dst=cidr, oif=_index(socket, link), proto=PROTOCOL)


def link_of(address: str) -> tuple[str, int]:
    """Return name and MTU of the link that has the address.

    The name is "" where none has it, the MTU 0 there and where a bridge cannot have such a one.
    """
    with netlink() as socket:
        for entry in socket.get_addr():
            if entry.get("address") == address:
                link = next(iter(socket.get_links(entry["index"])))
                mtu = int(link.get("mtu") or 0)
                return str(link.get("ifname") or ""), mtu if mtu <= BRIDGE_MTU_MAX else 0
    return "", 0


def mtu_of(name: str) -> int:
    """Return the MTU of a link; 0 where there is none."""
    with netlink() as socket:
        index = _index(socket, name)
        return 0 if index is None else int(next(iter(socket.get_links(index))).get("mtu") or 0)


def add_link(name: str, kind: str) -> bool:
    """Make a link; return whether the kernel can."""
    with netlink() as socket:
        try:
            socket.link("add", ifname=name, kind=kind)
        except refusal() as error:
            log.debug("link not made name=%s kind=%s error=%s", name, kind, error)
            return False
    return True


def own_routes() -> list[str]:
    """Return the networks that we made routes to."""
    with netlink() as socket:
        return sorted(
            f"{route.get('dst')}/{route['dst_len']}"
            for family in (2, 10)
            for route in socket.get_routes(family=family, table=MAIN_TABLE)
            if route["proto"] == PROTOCOL
        )


def remove_route(cidr: str) -> None:
    """Remove one of our routes; raises OSError."""
    with netlink() as socket, _as_os_error():
        socket.route("del", dst=cidr, proto=PROTOCOL)


def own_addresses() -> list[str]:
    """Return the addresses that we gave to the loopback link."""
    with netlink() as socket:
        index = _index(socket, "lo")
        entries = socket.get_addr(index=index, family=2)
        return sorted(str(one.get("address")) for one in entries if one.get("label") == LABEL)


def remove_address(address: str) -> None:
    """Take one of our addresses away from the loopback link; raises OSError."""
    with netlink() as socket, _as_os_error():
        prefix = 128 if ":" in address else 32
        socket.addr("del", index=_index(socket, "lo"), address=address, prefixlen=prefix)


def has_link(name: str) -> bool:
    """Tell whether there is a link of that name."""
    with netlink() as socket:
        return _index(socket, name) is not None


def remove_link(name: str) -> None:
    """Remove a link with all that hangs on it; raises OSError."""
    with netlink() as socket, _as_os_error():
        socket.link("del", index=_index(socket, name))


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except refusal() as error:
        raise OSError(error.code, str(error)) from error


def _index(socket: Any, name: str) -> int | None:
    found = socket.link_lookup(ifname=name)
    return int(found[0]) if found else None
