"""A packet filter in dictionaries: takes the text that policies are planned as, and judges.

It knows just the statements that the planned rules are made of, and refuses all others; it holds
the kernel's rules on what may be deleted while something refers to it.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import NamedTuple

BLOCK = re.compile(r"^(\w+) ([\w./-]+) \{ (.*?); \}$")
ELEMENTS = re.compile(r"^(add|delete) element (\S+ \S+) (\S+) \{ (.*) \}$")
REMOVAL = re.compile(r"^(flush|delete) (chain|set) (\S+ \S+) (\S+)$")


class Packet(NamedTuple):
    """The first packet of a connection."""

    source: str
    target: str
    protocol: str
    port: int


@dataclass
class Filter:
    """One table."""

    sets: dict[str, set[str]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)

    def apply(self, text: str) -> None:
        """Carry out one transaction; raises ValueError at what nft would refuse."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        at = 0
        while at < len(lines):
            line = lines[at]
            at += 1
            if line.startswith("delete table"):
                self.sets, self.maps, self.chains = {}, {}, {}
            elif line.startswith("chain ") and line.endswith("{"):
                end = lines.index("}", at)
                self._add_chain(line.split()[1], lines[at:end])
                at = end + 1
            elif line.startswith("table ") or line == "}":
                continue
            else:
                self._statement(line)
        self._check()

    def _add_chain(self, name: str, rules: list[str]) -> None:
        if name in self.chains:
            raise ValueError(f"chain {name} would get its rules twice")
        self.chains[name] = rules

    def _statement(self, line: str) -> None:
        if made := BLOCK.match(line):
            kind, name, _ = made.groups()
            (self.sets if kind == "set" else self.maps)[name] = set() if kind == "set" else {}  # type: ignore[index,assignment]
        elif changed := ELEMENTS.match(line):
            verb, _, name, elements = changed.groups()
            for element in elements.split(", "):
                self._element(verb, name, *element.split(" : "))
        elif removed := REMOVAL.match(line):
            verb, kind, _, name = removed.groups()
            if verb == "flush":
                self.chains[name] = []
            elif kind == "chain":
                del self.chains[name]
            else:
                del self.sets[name]
        else:
            raise ValueError(f"not understood: {line}")

    def _element(self, verb: str, name: str, key: str, value: str = "") -> None:
        container: set[str] | dict[str, str] = self.sets[name] if not value else self.maps[name]
        if verb == "delete":
            if key not in container:
                raise ValueError(f"{name} has no {key}")
            container.discard(key) if isinstance(container, set) else container.pop(key)
        elif isinstance(container, set):
            container.add(key)
        elif container.setdefault(key, value) != value:
            raise ValueError(f"{name} has another {key}")

    def _check(self) -> None:
        """Raise where something refers to what is not there."""
        for name, rules in self.chains.items():
            for found in re.findall(r"@([\w-]+)", " ".join(rules)):
                if found not in self.sets and found not in self.maps:
                    raise ValueError(f"chain {name} refers to {found}")
        for values in self.maps.values():
            for verdict in values.values():
                if verdict.removeprefix("jump ") not in self.chains:
                    raise ValueError(f"{verdict} leads nowhere")

    def passes(self, packet: Packet) -> bool:
        """Tell whether a packet that this machine forwards comes through."""
        verdict = ""
        for rule in self.chains["forward"][1:]:
            if rule.startswith(("ct state", "icmpv6")):
                continue
            verdict = self._rule(rule, packet)
            if verdict in {"accept", "drop"}:
                break
        return verdict != "drop"

    def _rule(self, rule: str, packet: Packet) -> str:
        if "vmap" in rule:
            key, name = rule.split(" vmap @")
            found = self.maps[name].get(self._value(key, packet), "")
            return self._chain(found.removeprefix("jump "), packet) if found else ""
        *conditions, verdict = split_rule(rule)
        return verdict if all(self._holds(one, packet) for one in conditions) else ""

    def _chain(self, name: str, packet: Packet) -> str:
        for rule in self.chains[name]:
            verdict = self._rule(rule, packet)
            if verdict:
                return verdict
        return "return"

    def _value(self, key: str, packet: Packet) -> str:
        words = {
            "saddr": packet.source,
            "daddr": packet.target,
            "l4proto": packet.protocol,
            "dport": str(packet.port),
        }
        return " . ".join(words[part.split()[-1]] for part in key.split(" . "))

    def _holds(self, condition: str, packet: Packet) -> bool:
        if " @" in condition:
            key, _, name = condition.partition(" @")
            return self._value(key, packet) in self.sets[name]
        words = condition.split(" ", 2)
        if words[:2] == ["meta", "l4proto"]:
            return packet.protocol == words[2]
        if words[1] == "dport":
            ranges = (one.partition("-") for one in words[2].strip("{} ").split(", "))
            spans = [(int(first), int(last or first)) for first, _, last in ranges]
            inside = any(first <= packet.port <= last for first, last in spans)
            return packet.protocol == words[0] and inside
        address = ipaddress.ip_address(self._value(" ".join(words[:2]), packet))
        negated, text = words[2].startswith("!= "), words[2].removeprefix("!= ")
        among = any(address in ipaddress.ip_network(one) for one in text.strip("{} ").split(", "))
        return among != negated


KEY = r"(?:ip6? [sd]addr|meta l4proto|th dport)"
CONDITION = re.compile(
    rf"{KEY}(?: \. {KEY})* @[\w-]+"
    r"|ip6? [sd]addr != \{ [^}]* \}|ip6? [sd]addr [0-9a-f:./]+|meta l4proto \w+"
    r"|\w+ dport \{ [^}]* \}|return|drop|accept"
)


def split_rule(rule: str) -> list[str]:
    """Return the conditions of a rule, then its verdict."""
    parts = CONDITION.findall(rule)
    if " ".join(parts) != rule:
        raise ValueError(f"not understood: {rule}")
    return parts
