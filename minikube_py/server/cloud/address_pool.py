"""Load balancers with addresses of their own: one of a pool for each service, on one node; pure.

Whatever a service has it keeps: its address stands in its status, and nowhere else. The node that
answers for it is the one with the highest hash of both names (rendezvous hashing), so when nodes
come and go only those services move that must.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minikube_py.api.object import Key
from minikube_py.server.cloud.local_shares import Ask, Machine, Verdict, family_of, willing

REASON = "AllocationFailed"


@dataclass(frozen=True)
class Range:
    """The addresses from one to another."""

    family: str
    first: int
    last: int

    def __iter__(self) -> Iterator[str]:
        make = ipaddress.IPv4Address if self.family == "IPv4" else ipaddress.IPv6Address
        return (str(make(number)) for number in range(self.first, self.last + 1))

    def __contains__(self, address: object) -> bool:
        text = str(address)
        if family_of(text) != self.family:
            return False
        return self.first <= int(ipaddress.ip_address(text)) <= self.last


def parse(text: str) -> Range:
    """Read `10.0.0.0/28`, without its first and last address, or `10.0.0.5-10.0.0.9`.

    Raises:
        ValueError: it is neither.

    """
    if "-" in text:
        first, last = (ipaddress.ip_address(part.strip()) for part in text.split("-", 1))
        if first.version != last.version or int(first) > int(last):
            raise ValueError(f"{text!r} is no range of addresses")
        return Range(family_of(str(first)), int(first), int(last))
    network = ipaddress.ip_network(text.strip())
    low, high = int(network[0]), int(network[-1])
    edge = 1 if network.num_addresses > 2 else 0
    return Range(family_of(str(network[0])), low + edge, high - edge)


def assign(
    asks: Iterable[Ask], machines: Iterable[Machine], pools: Sequence[Range]
) -> dict[Key, Verdict]:
    """Give each service an address of each of its families, and a node that answers for them."""
    chosen, ranked = willing(machines), sorted(asks, key=lambda ask: ask.rank)
    holders: dict[str, Key] = {}
    for ask in ranked:
        for address in ask.current:
            if _has(pools, address):
                holders.setdefault(address, ask.key)
    verdicts = {}
    for ask in ranked:
        addresses, conflict = [], ""
        for family in ask.families:
            try:
                address = _choose(ask, family, holders, pools)
            except LookupError as error:
                conflict = conflict or str(error.args[0])
            else:
                holders[address] = ask.key
                addresses.append(address)
        announcer = announcer_of(ask, chosen) if addresses else ""
        verdicts[ask.key] = Verdict(tuple(addresses), conflict, REASON, announcer)
    return verdicts


def _choose(ask: Ask, family: str, holders: Mapping[str, Key], pools: Sequence[Range]) -> str:
    """Return the address that a user wants, else the one it has, else the first that is free.

    Raises:
        LookupError: there is none; says why.

    """
    if ask.requested and family_of(ask.requested) == family:
        return _requested(ask, holders, pools)
    kept = (address for address in ask.current if holders.get(address) == ask.key)
    for address in kept:
        if family_of(address) == family:
            return address
    for pool in pools:
        for address in pool if pool.family == family else ():
            if address not in holders:
                return address
    raise LookupError(f"the pool has no free {family} address")


def _requested(ask: Ask, holders: Mapping[str, Key], pools: Sequence[Range]) -> str:
    try:
        wanted = str(ipaddress.ip_address(ask.requested))
    except ValueError:
        wanted = ""
    if not wanted or not _has(pools, wanted):
        raise LookupError(f"address {ask.requested} is not in the pool")
    if holders.get(wanted, ask.key) != ask.key:
        raise LookupError(f"address {wanted} is taken by service {holders[wanted]}")
    return wanted


def _has(pools: Sequence[Range], address: str) -> bool:
    return any(address in pool for pool in pools)


def announcer_of(ask: Ask, machines: Iterable[Machine]) -> str:
    """Return the node that answers for a service, "" where none can."""
    able = [
        machine.name
        for machine in machines
        if (not ask.pool or machine.pool == ask.pool)
        and (ask.serving is None or machine.name in ask.serving)
    ]
    return max(able, key=lambda name: _hash(f"{name} {ask.key}"), default="")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
