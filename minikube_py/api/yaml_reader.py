"""Documents of YAML read in one pass over libyaml's events.

PyYAML makes a tree of nodes of a text first, inside C and without letting other threads run, and
documents of the nodes then. Here each event goes straight into the document, which takes a third of
the time, needs no recursion, and lets the reading be given up, moved or refused at any event: what
aliases make of a text is counted, not made.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson
import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from minikube_py.lib import patience

NODES_MAX = 500_000
"""Nodes of one document, aliases counted: an alias bomb is refused, not expanded."""
NESTING_MAX = 1_000
"""Collections inside each other, whatever they are inside of later."""
EVENTS_AT_ONCE: Final = 128
"""Events between two looks at the clock, and at whether somebody else wants to run."""
_TAG: Final = "tag:yaml.org,2002:"
_STRING, _MERGE = f"{_TAG}str", f"{_TAG}merge"
_COLLECTIONS: Final = frozenset({None, "!", f"{_TAG}map", f"{_TAG}seq"})
_IN_MAPPING: Final = "while constructing a mapping"
_ABSENT: Final = object()


class _Frame:
    """A collection that is being read."""

    __slots__ = ("anchor", "began", "key", "mark", "merged", "out", "seen", "shown", "twice")

    def __init__(self, event: Any, out: Any, began: int) -> None:
        self.anchor: str | None = event.anchor
        self.mark = event.start_mark
        self.out = out
        self.began = began
        """How many nodes there were before."""
        self.key: Any = _ABSENT
        """The key whose value comes next."""
        self.merged: list[Any] = []
        self.seen: set[tuple[str, str]] = set()
        """Tags and texts of keys."""
        self.shown = ""
        """How a message shows the key whose value comes next."""
        self.twice = False
        """Whether that key was there before."""


class Reader:
    """One text; `repeated` is what a strict reader finds wrong with its keys."""

    def __init__(self, data: bytes | str, loader: Callable[[bytes | str], Any]) -> None:
        self._loader = loader(data)
        self._anchors: dict[str, tuple[Any, int, Any]] = {}
        """Value, number of nodes and place of what has a name; no value while it is read."""
        self._stack: list[_Frame] = []
        self._nodes = 0
        self.repeated: list[str] = []

    def one(self) -> Any:
        """Return the only document, None where there is none."""
        self._loader.get_event()  # of the stream
        if self._loader.check_event(yaml.StreamEndEvent):
            return None
        first = self._loader.peek_event().start_mark
        document = self._document()
        if not self._loader.check_event(yaml.StreamEndEvent):
            raise ComposerError(
                "expected a single document in the stream",
                first,
                "but found another document",
                self._loader.get_event().start_mark,
            )
        return document

    def all(self) -> Iterator[Any]:
        """Yield the documents."""
        self._loader.get_event()
        while not self._loader.check_event(yaml.StreamEndEvent):
            yield self._document()

    def _document(self) -> Any:
        next_event = self._loader.get_event
        next_event()  # of the document's start
        self._anchors.clear()
        for count in range(1, 1 << 62):
            if count % EVENTS_AT_ONCE == 0:
                patience.check()
            event = next_event()
            kind = event.__class__
            if kind is yaml.ScalarEvent:
                done = self._scalar(event)
            elif kind is yaml.MappingStartEvent:
                done = self._begin(event, {})
            elif kind is yaml.SequenceStartEvent:
                done = self._begin(event, [])
            elif kind is yaml.AliasEvent:
                done = self._alias(event)
            else:
                done = self._end()
            if done is not _ABSENT and not self._stack:
                next_event()  # of the document's end
                return done
        return None  # never: a text ends before

    # What comes

    def _begin(self, event: Any, out: Any) -> Any:
        if event.tag not in _COLLECTIONS:
            raise _no_constructor(event.tag, event.start_mark)
        if len(self._stack) >= NESTING_MAX:
            raise ValueError(f"the document is nested more than {NESTING_MAX} deep")
        if event.anchor is not None:
            self._anchors[event.anchor] = (_ABSENT, 0, event.start_mark)
        self._stack.append(_Frame(event, out, self._nodes))
        return _ABSENT

    def _end(self) -> Any:
        frame = self._stack.pop()
        out = frame.out
        if frame.merged:
            out = {}
            for given in frame.merged:
                out.update(given)
            out.update(frame.out)
        if frame.anchor is not None:
            self._anchors[frame.anchor] = (out, self._nodes - frame.began + 1, frame.mark)
        return self._place(out, frame.mark)

    def _alias(self, event: Any) -> Any:
        found = self._anchors.get(event.anchor)
        if found is None:
            raise yaml.YAMLError(f"unknown anchor '{event.anchor}' referenced")
        value, nodes, mark = found
        if value is _ABSENT:
            raise yaml.YAMLError(f"anchor '{event.anchor}' value contains itself")
        self._nodes += nodes - 1
        return self._place(value, mark)

    def _scalar(self, event: Any) -> Any:
        tag, text = event.tag, event.value
        if tag is None or tag == "!":
            tag = _STRING
            if event.implicit[0]:
                for found, pattern in self._loader.yaml_implicit_resolvers.get(text[:1], ()):
                    if pattern.match(text):
                        tag = found
                        break
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.key is _ABSENT and frame.out.__class__ is dict:
            self._see_key(frame, tag, text)
        value = text if tag in (_STRING, _MERGE) else self._made(tag, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, event.start_mark)
        return self._place(value, event.start_mark, tag)

    def _made(self, tag: str, event: Any) -> Any:
        construct = self._loader.yaml_constructors.get(tag)
        if construct is None or tag in _COLLECTIONS:
            raise _no_constructor(tag, event.start_mark)
        return construct(self._loader, yaml.ScalarNode(tag, event.value, event.start_mark))

    # Where it goes

    def _place(self, value: Any, mark: Any, tag: str = "") -> Any:
        """Put a value where it belongs."""
        stack = self._stack
        if not stack:
            return value
        frame = stack[-1]
        if frame.out.__class__ is list:
            frame.out.append(value)
        elif frame.key is _ABSENT:
            frame.key = _MERGE_KEY if tag == _MERGE else _key(value, frame, mark)
            return _ABSENT
        else:
            self._place_below(frame, value, mark)
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise ValueError("document contains excessive aliasing")
        return _ABSENT

    def _place_below(self, frame: _Frame, value: Any, mark: Any) -> None:
        """Put a value below its key."""
        if frame.twice:
            self.repeated.append(f"line {mark.line + 1}: key {frame.shown} already set in map")
            frame.twice = False
        if frame.key is _MERGE_KEY:
            frame.merged += _mappings(value, frame, mark)
        else:
            frame.out[frame.key] = value
        frame.key = _ABSENT

    def _see_key(self, frame: _Frame, tag: str, text: str) -> None:
        if (tag, text) in frame.seen:
            frame.twice = True
            frame.shown = orjson.dumps(text).decode() if tag == _STRING else text
        frame.seen.add((tag, text))


_MERGE_KEY: Final = object()


def _key(value: Any, frame: _Frame, mark: Any) -> Any:
    if value.__class__ in (dict, list):
        raise ConstructorError(_IN_MAPPING, frame.mark, "found unhashable key", mark)
    return value


def _mappings(value: Any, frame: _Frame, mark: Any) -> list[Any]:
    """Return what `<<` brings; of several maps the first has the last word."""
    given = value[::-1] if isinstance(value, list) else [value]
    for one in given:
        if not isinstance(one, dict):
            text = "expected a mapping or list of mappings for merging"
            raise ConstructorError(_IN_MAPPING, frame.mark, text, mark)
    return given


def _no_constructor(tag: str, mark: Any) -> ConstructorError:
    text = f"could not determine a constructor for the tag {tag!r}"
    return ConstructorError(None, None, text, mark)
