"""Sets of processors as Linux writes them: `0-3,8`. Pure."""

from collections.abc import Iterable

Cpus = frozenset[int]
NONE: Cpus = frozenset()


def parse(text: str) -> Cpus:
    """Parse a list of processors; raises ValueError."""
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.strip().split(","))):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        if low < 0 or high < low:
            raise ValueError(f"{part!r} is no range of processors")
        found.update(range(low, high + 1))
    return frozenset(found)


def show(cpus: Iterable[int]) -> str:
    """Return a set in the shortest form."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(str(one[0]) if len(one) == 1 else f"{one[0]}-{one[-1]}" for one in parts)
