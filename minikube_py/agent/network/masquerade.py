"""Pods speak to the outside under the node's address, and to each other under their own."""

import ipaddress
from collections.abc import Iterator, Sequence

TABLE = "kpy-masquerade"


def ruleset(pod_cidrs: Sequence[str], cluster_cidrs: Sequence[str]) -> str:
    """Return the nft text that replaces the table; pure.

    Addresses of pods stay as they are towards pods of any node (`cluster_cidrs`) and towards
    groups (multicast).
    """
    rules = []
    for cidr in pod_cidrs:
        family, group = ("ip6", "ff00::/8") if ":" in cidr else ("ip", "224.0.0.0/4")
        own = ", ".join(_joined([cidr, *(c for c in cluster_cidrs if (":" in c) == (":" in cidr))]))
        rules.append(
            f"    {family} saddr {cidr} {family} daddr != {{ {own} }} "
            f"{family} daddr != {group} masquerade fully-random\n"
        )
    return (
        f"table inet {TABLE}\n"
        f"delete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"{''.join(rules)}"
        "  }\n"
        "}\n"
    )


def _joined(cidrs: Sequence[str]) -> Iterator[str]:
    """Yield the networks without those inside others, which nft refuses in one set."""
    networks = [ipaddress.ip_network(cidr) for cidr in cidrs]
    for network in ipaddress.collapse_addresses(networks):  # type: ignore[type-var]
        yield str(network)
