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
        self._values: dict[Slot, str] = {}
        """What is wanted."""
        self._owners: dict[Slot, Key] = {}
        """Whose value that is."""
        self._rivals: dict[Slot, dict[Key, str]] = {}
        """All claims of those elements that several contributors have: few."""
        self._told: dict[Slot, str | None] = {}
        """Of the elements that changed since: what the kernel has, None where nothing."""

    @property
    def is_changed(self) -> bool:
        """Whether there is a difference to tell."""
        return bool(self._told)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Element]:
        for slot, value in self._values.items():
            yield Element(*slot, value)

    def update(self, key: Key, elements: Collection[Element]) -> None:
        """Put a contributor's elements in place of those it had; none removes it."""
        held = self._contributions.get(key)
        old, new = (
            (set(held) - set(elements), set(elements) - set(held)) if held else ((), elements)
        )
        for container, name, _ in old:
            self._set((container, name), self._unclaim((container, name), key))
        for container, name, value in new:
            self._set((container, name), self._claim((container, name), key, value))
        if elements:
            self._contributions[key] = tuple(elements)
        else:
            self._contributions.pop(key, None)

    def keys(self) -> Collection[Key]:
        """Return those who contribute."""
        return self._contributions.keys()

    def _claim(self, slot: Slot, key: Key, value: str) -> str | None:
        """Note a claim; return the value that the element has now."""
        owner = self._owners.setdefault(slot, key)
        if owner == key and slot not in self._rivals:
            return value
        rivals = self._rivals.setdefault(slot, {owner: self._values[slot]})
        rivals[key] = value
        return self._decide(slot, rivals)

    def _unclaim(self, slot: Slot, key: Key) -> str | None:
        """Take a claim back; return the value that the element has now, None where it is gone."""
        rivals = self._rivals.get(slot)
        if rivals is None:
            if self._owners.get(slot) == key:
                del self._owners[slot]
                return None
            return self._values.get(slot)
        rivals.pop(key, None)
        if len(rivals) == 1:
            del self._rivals[slot]
        return self._decide(slot, rivals)

    def _decide(self, slot: Slot, rivals: Mapping[Key, str]) -> str:
        owner = self._owners[slot] = min(rivals)
        return rivals[owner]

    def _set(self, slot: Slot, after: str | None) -> None:
        before = self._values.get(slot)
        if before == after:
            return
        if after is None:
            del self._values[slot]
        else:
            self._values[slot] = after
        if self._told.setdefault(slot, before) == after:
            del self._told[slot]

    def told(self) -> None:
        """Note that the kernel has been told all."""
        self._told.clear()

    def texts(self, table: str) -> Iterator[str]:
        """Yield the statements that add all elements to a table; equal states, equal text."""
        by_container: dict[str, list[str]] = {}
        for (container, key), value in self._values.items():
            by_container.setdefault(container, []).append(f"{key} : {value}" if value else key)
        for container in sorted(by_container):
            yield from _statements("add", table, container, sorted(by_container[container]))

    def difference(self) -> Difference:
        """Return what the kernel has not been told yet."""
        now = {slot: self._values.get(slot) for slot in self._told}
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
        yield from _statements(verb, table, container, texts)


def _statements(verb: str, table: str, container: str, texts: Sequence[str]) -> Iterator[str]:
    for at in range(0, len(texts), BATCH):
        some = ", ".join(texts[at : at + BATCH])
        yield f"{verb} element {table} {container} {{ {some} }}\n"
