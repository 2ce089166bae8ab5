"""What the kernel knows of other nodes' pods, read and changed as `routes.py` plans.

All calls block. Ours are the routes with our protocol number, the link of the back end and all
that hangs on it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from minikube_py.agent.network.kernel import MAIN_TABLE, PROTOCOL, UNIVERSE
from minikube_py.agent.network.netlink import netlink, refusal
from minikube_py.agent.network.routes import (
    LINKS,
    VXLAN_ID,
    VXLAN_LINK,
    VXLAN_PORT,
    Change,
    Forward,
    Link,
    Neighbour,
    Route,
    State,
)

PERMANENT = 0x80
"""NUD_PERMANENT: an entry that the kernel neither checks nor forgets."""
FAMILIES = (2, 10)
ONLINK = "onlink"


def read() -> State:
    """Return what there is."""
    with netlink() as socket:
        for name in LINKS.values():
            found = socket.link_lookup(ifname=name)
            if found:
                link = _link(socket, name, int(found[0]))
                neighbours = frozenset(_neighbours(socket, int(found[0])))
                forwards = frozenset(_forwards(socket, int(found[0])))
                routes = frozenset(_routes(socket))
                return State(link, neighbours, forwards, routes)
        return State(routes=frozenset(_routes(socket)))


def _link(socket: Any, name: str, index: int) -> Link:
    entry = next(iter(socket.get_links(index)))
    data = entry.get("linkinfo").get("data") if name == VXLAN_LINK else None
    local = ""
    if data is not None:
        local = data.get("vxlan_local") or data.get("vxlan_local6") or ""
    mac = str(entry.get("address") or "") if name == VXLAN_LINK else ""
    # A link that is down is as good as none: it differs from every wanted one.
    return Link(
        name,
        int(entry.get("mtu") or 0) if _is_up(entry) else -1,
        _addresses(socket, index),
        mac,
        local,
    )


def _addresses(socket: Any, index: int) -> frozenset[str]:
    return frozenset(
        f"{one.get('address')}/{one['prefixlen']}"
        for one in socket.get_addr(index=index)
        if one["scope"] == UNIVERSE
    )


def _is_up(entry: Any) -> bool:
    return bool(entry["flags"] & 1)


def _neighbours(socket: Any, index: int) -> Iterator[Neighbour]:
    for family in FAMILIES:
        for entry in socket.get_neighbours(family=family, ifindex=index):
            if entry["state"] == PERMANENT and entry.get("dst") and entry.get("lladdr"):
                yield Neighbour(str(entry.get("dst")), str(entry.get("lladdr")))


def _forwards(socket: Any, index: int) -> Iterator[Forward]:
    for entry in socket.fdb("dump", ifindex=index):
        if entry["ifindex"] == index and entry.get("dst") and entry.get("lladdr"):
            yield Forward(str(entry.get("lladdr")), str(entry.get("dst")))


def _routes(socket: Any) -> Iterator[Route]:
    names: dict[int, str] = {}
    for name in LINKS.values():
        names.update((int(index), name) for index in socket.link_lookup(ifname=name))
    for family in FAMILIES:
        for route in socket.get_routes(family=family, table=MAIN_TABLE):
            link = names.get(route.get("oif") or 0, "")
            if route["proto"] == PROTOCOL and (route.get("gateway") or link):
                cidr = f"{route.get('dst')}/{route['dst_len']}"
                yield Route(cidr, str(route.get("gateway") or ""), link)


def change(changes: Iterable[Change]) -> list[tuple[Change, str]]:
    """Carry changes out; return those that the kernel refused, with its words."""
    refused = []
    with netlink() as socket:
        for one in changes:
            try:
                DO[type(one.part)](socket, one.part, one.is_wanted)
            except (refusal(), OSError) as error:
                refused.append((one, str(error)))
    return refused


def _change_link(socket: Any, link: Link, is_wanted: bool) -> None:  # noqa: FBT001 -- one of DO
    """Make, set up or remove a link; one of WireGuard's is made beforehand."""
    if not is_wanted:
        for index in socket.link_lookup(ifname=link.name):
            socket.link("del", index=index)
        return
    if link.name == VXLAN_LINK and not socket.link_lookup(ifname=link.name):
        family = "vxlan_local6" if ":" in link.local else "vxlan_local"
        socket.link(
            "add", ifname=link.name, kind="vxlan", address=link.mac,
            vxlan_id=VXLAN_ID, vxlan_port=VXLAN_PORT, vxlan_learning=False,
            **({"mtu": link.mtu} if link.mtu else {}), **{family: link.local},
        )  # fmt: skip
    (index,) = socket.link_lookup(ifname=link.name) or (0,)
    if not index:
        raise OSError(f"there is no link {link.name}")
    current = _addresses(socket, index)
    for verb, addresses in (("del", current - link.addresses), ("add", link.addresses - current)):
        for address in sorted(addresses):
            ip, _, bits = address.partition("/")
            socket.addr(verb, index=index, address=ip, prefixlen=int(bits))
    socket.link("set", index=index, state="up", **({"mtu": link.mtu} if link.mtu else {}))


def _change_route(socket: Any, route: Route, is_wanted: bool) -> None:  # noqa: FBT001
    where: dict[str, Any] = {"dst": route.cidr, "proto": PROTOCOL}
    if route.gateway:
        where["gateway"] = route.gateway
    if route.link:
        where["oif"] = _index(socket, route.link)
        if route.gateway:
            where["flags"] = [ONLINK]
    if is_wanted:
        socket.route("replace", **where)
    else:
        socket.route("del", dst=route.cidr, proto=PROTOCOL)


def _change_neighbour(socket: Any, entry: Neighbour, is_wanted: bool) -> None:  # noqa: FBT001
    verb = "replace" if is_wanted else "del"
    more = {"lladdr": entry.mac, "state": PERMANENT} if is_wanted else {}
    socket.neigh(verb, dst=entry.address, ifindex=_index(socket, VXLAN_LINK), **more)


def _change_forward(socket: Any, entry: Forward, is_wanted: bool) -> None:  # noqa: FBT001
    verb = "append" if is_wanted else "del"
    index = _index(socket, VXLAN_LINK)
    socket.fdb(verb, ifindex=index, lladdr=entry.mac, dst=entry.address)


def _index(socket: Any, name: str) -> int:
    found: Sequence[int] = socket.link_lookup(ifname=name)
    if not found:
        raise OSError(f"there is no link {name}")
    return int(found[0])


DO: dict[type, Callable[[Any, Any, bool], None]] = {
    Link: _change_link,
    Route: _change_route,
    Neighbour: _change_neighbour,
    Forward: _change_forward,
}


def knows(kind: str) -> bool:
    """Tell whether the kernel can make links of a kind, by making one."""
    name = f"kpy-try-{kind[:6]}"
    with netlink() as socket:
        try:
            socket.link("add", ifname=name, kind=kind)
        except refusal():
            return False
        socket.link("del", index=_index(socket, name))
    return True
