"""Elements of nftables sets and maps: what is wanted, and how it differs from what was told.

Somebody (a service, a pod) contributes a set of elements; the kernel holds their union. So a
change of one contributor is a difference of two small sets, whatever else there is. Two may claim
the same element with different values (an external address, an address that went from one pod to
another): the first by key has it, and when that one goes the next gets it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from minikube_py.api.object import Key

BATCH = 5000
"""Elements in one statement of text."""
Slot = tuple[str, str]
"""Container and key of an element."""


class Element(NamedTuple):
    """An element of a map or, without a value, of a set."""

    container: str
    key: str
    value: str = ""


class Difference(NamedTuple):
    """What brings the kernel from what it was told to what is wanted, both sorted."""

    gone: Sequence[Element]
    added: Sequence[Element]


class Elements:
    """The elements of one table by who contributes them."""

    def __init__(self) -> None:
        self._contributions: dict[Key, Collection[Element]] = {}
        self._claims: dict[Slot, dict[Key, str]] = {}
        self._told: dict[Slot, str | None] = {}
        """Of the elements that changed since: what the kernel has, None where nothing."""

    @property
    def is_changed(self) -> bool:
        """Whether there is a difference to tell."""
        return bool(self._told)

    def __len__(self) -> int:
        return len(self._claims)

    def __iter__(self) -> Iterator[Element]:
        for slot, claims in self._claims.items():
            yield Element(*slot, claims[min(claims)])

    def update(self, key: Key, elements: Collection[Element]) -> None:
        """Put a contributor's elements in place of those it had; none removes it."""
        old, new = set(self._contributions.get(key, ())), set(elements)
        for container, name, _ in old - new:
            self._claim((container, name), key, None)
        for container, name, value in new - old:
            self._claim((container, name), key, value)
        if new:
            self._contributions[key] = tuple(elements)
        else:
            self._contributions.pop(key, None)

    def keys(self) -> Collection[Key]:
        """Return those who contribute."""
        return self._contributions.keys()

    def _claim(self, slot: Slot, key: Key, value: str | None) -> None:
        before = self._value(slot)
        claims = self._claims.setdefault(slot, {})
        if value is None:
            claims.pop(key, None)
        else:
            claims[key] = value
        if not claims:
            del self._claims[slot]
        after = self._value(slot)
        if before == after:
            return
        told = self._told.setdefault(slot, before)
        if told == after:
            del self._told[slot]

    def _value(self, slot: Slot) -> str | None:
        claims = self._claims.get(slot)
        return claims[min(claims)] if claims else None

    def told(self) -> None:
        """Note that the kernel has been told all."""
        self._told.clear()

    def difference(self) -> Difference:
        """Return what the kernel has not been told yet."""
        now = {slot: self._value(slot) for slot in self._told}
        return Difference(_elements_of(self._told), _elements_of(now))


def _elements_of(values: Mapping[Slot, str | None]) -> list[Element]:
    return sorted(Element(*slot, value) for slot, value in values.items() if value is not None)


def element_texts(verb: str, table: str, elements: Sequence[Element]) -> Iterator[str]:
    """Yield the statements that add or delete elements of a table (`ip kpy-proxy`)."""
    by_container: dict[str, list[str]] = {}
    for container, key, value in elements:
        text = f"{key} : {value}" if value else key
        by_container.setdefault(container, []).append(text)
    for container, texts in by_container.items():
        for at in range(0, len(texts), BATCH):
            some = ", ".join(texts[at : at + BATCH])
            yield f"{verb} element {table} {container} {{ {some} }}\n"
