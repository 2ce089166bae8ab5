"""A machine of threads for regular expressions: never slower than text times program.

The syntax tree of Python's own parser becomes a program of steps (Thompson's construction). To ask
only whether a text matches, sets of threads are remembered per character, which makes the machine a
finite automaton built as it runs. To find where, each thread carries its start and threads keep the
order in which a backtracking engine would try them (Pike's machine).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from re import _parser  # type: ignore[attr-defined]
from typing import Any, Final, NamedTuple

PROGRAM_MAX: Final = 10_000
"""Steps of a program; RE2 refuses what is much larger, too."""
_REMEMBERED_MAX: Final = 20_000
_IGNORE_CASE: Final = 2
_MULTILINE: Final = 8
_DOT_ALL: Final = 16
Test = Callable[[str], bool]


class Step(NamedTuple):
    """One step: `char` tests a character, `at` a place, `split` goes on at all targets."""

    kind: str
    test: Any = None
    targets: tuple[int, ...] = ()


def is_word(character: str) -> bool:
    r"""Tell whether `\w` matches; "" is the edge of the text."""
    return character.isascii() and (character.isalnum() or character == "_")


_CATEGORIES: Final[Mapping[str, Test]] = {
    "DIGIT": lambda each: each.isascii() and each.isdigit(),
    "SPACE": lambda each: each in " \t\n\r\f\v",
    "WORD": is_word,
}


def _category(name: str) -> Test:
    test = _CATEGORIES[name.removeprefix("CATEGORY_").removeprefix("NOT_")]
    negated = "_NOT_" in name
    return lambda each: test(each) is not negated


def _within(ranges: Iterable[tuple[int, int]]) -> Test:
    """Return a test for being in one of some ranges; classes of Unicode have hundreds."""
    edges: list[int] = []
    for low, high in sorted(ranges):
        if edges and low <= edges[-1]:
            edges[-1] = max(edges[-1], high + 1)
        else:
            edges += (low, high + 1)
    return lambda each: bisect_right(edges, ord(each)) % 2 == 1


def _one_of(items: Iterable[Any], flags: int) -> Test:
    parts = [(str(kind), argument) for kind, argument in items]
    negated = parts[0][0] == "NEGATE"
    tests = [_category(str(argument)) for kind, argument in parts if kind == "CATEGORY"]
    ranges = [argument for kind, argument in parts if kind == "RANGE"]
    ranges += [(argument, argument) for kind, argument in parts if kind == "LITERAL"]
    if ranges:
        tests.append(_within(ranges))

    def test(each: str) -> bool:
        forms = {each, each.lower(), each.upper()} if flags & _IGNORE_CASE else (each,)
        return negated is not any(one(form) for form in forms if len(form) == 1 for one in tests)

    return test


class Compiler:
    """Turns a syntax tree into steps."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def _add(self, *step: Any) -> int:
        if len(self.steps) >= PROGRAM_MAX:
            raise ValueError("expression too large")
        self.steps.append(Step(*step))
        return len(self.steps) - 1

    def _here(self) -> int:
        return len(self.steps)

    def sequence(self, nodes: Iterable[Any], flags: int) -> None:
        """Append the steps of nodes one after another."""
        for kind, argument in nodes:
            self._node(str(kind), argument, flags)

    def _node(self, kind: str, argument: Any, flags: int) -> None:
        if kind in {"LITERAL", "NOT_LITERAL", "ANY", "IN"}:
            self._add("char", _character(kind, argument, flags))
        elif kind == "AT":
            self._add("at", _place(str(argument), flags))
        elif kind == "BRANCH":
            self._branch(argument[1], flags)
        elif kind == "SUBPATTERN":
            _, added, removed, nodes = argument
            self.sequence(nodes, (flags | added) & ~removed)
        elif kind in {"MAX_REPEAT", "MIN_REPEAT"}:
            self._repeat(argument, flags, greedy=kind == "MAX_REPEAT")
        else:
            raise ValueError(f"no such step: {kind}")

    def _branch(self, branches: Any, flags: int) -> None:
        split = self._add("split")
        starts, ends = [], []
        for nodes in branches:
            starts.append(self._here())
            self.sequence(nodes, flags)
            ends.append(self._add("split"))
        self.steps[split] = Step("split", None, tuple(starts))
        for end in ends:
            self.steps[end] = Step("split", None, (self._here(),))

    def _repeat(self, argument: Any, flags: int, *, greedy: bool) -> None:
        least, most, nodes = argument
        for _ in range(least):
            self.sequence(nodes, flags)
        if most == _parser.MAXREPEAT:
            split = self._add("split")
            self.sequence(nodes, flags)
            self._add("split", None, (split,))
            self._choose(split, greedy=greedy)
            return
        splits = []
        for _ in range(most - least):
            splits.append(self._add("split"))
            self.sequence(nodes, flags)
        for split in splits:
            self._choose(split, greedy=greedy)

    def _choose(self, split: int, *, greedy: bool) -> None:
        targets = (split + 1, self._here())
        self.steps[split] = Step("split", None, targets if greedy else targets[::-1])


def _character(kind: str, argument: Any, flags: int) -> Test:
    if kind == "ANY":
        return (lambda _: True) if flags & _DOT_ALL else (lambda each: each != "\n")
    if kind == "IN":
        return _one_of(argument, flags)
    literal = _one_of([("LITERAL", argument)], flags)
    return literal if kind == "LITERAL" else (lambda each: not literal(each))


def _place(name: str, flags: int) -> Callable[[str, str], bool]:
    """Return a test of the characters before and after a place; "" is the edge of the text."""
    if name == "AT_BOUNDARY":
        return lambda before, after: is_word(before) is not is_word(after)
    if name == "AT_NON_BOUNDARY":
        return lambda before, after: is_word(before) is is_word(after)
    many = bool(flags & _MULTILINE)
    if name.startswith("AT_BEGINNING"):
        lines = many and name == "AT_BEGINNING"
        return lambda before, _: not before or (lines and before == "\n")
    lines = many and name == "AT_END"
    return lambda _, after: not after or (lines and after == "\n")


class Machine:
    """A program and what it remembers of its runs."""

    def __init__(self, pattern: str, flags: int) -> None:
        tree = _parser.parse(pattern, flags)
        compiler = Compiler()
        compiler.sequence(tree, tree.state.flags)
        self.steps = (*compiler.steps, Step("match"))
        self._known: dict[tuple[frozenset[int], str, str], frozenset[int] | None] = {}

    def _follow(self, start: int, before: str, after: str, seen: set[int]) -> Iterator[int]:
        """Yield the steps that wait for a character, or match, in order of preference."""
        waiting = [start]
        while waiting:
            at = waiting.pop()
            if at in seen:
                continue
            seen.add(at)
            step = self.steps[at]
            if step.kind == "split":
                waiting.extend(reversed(step.targets))
            elif step.kind == "at":
                if step.test(before, after):
                    waiting.append(at + 1)
            else:
                yield at

    def matches(self, text: str) -> bool:
        """Tell whether the program matches anywhere in the text."""
        threads: frozenset[int] | None = frozenset((0,))
        before = ""
        for after in (*text, ""):
            key = (threads or frozenset(), before, after)
            if key not in self._known:
                if len(self._known) >= _REMEMBERED_MAX:
                    self._known.clear()
                self._known[key] = self._advance(*key)
            threads = self._known[key]
            if threads is None:
                return True
            before = after
        return False

    def _advance(self, threads: frozenset[int], before: str, after: str) -> frozenset[int] | None:
        """Return the threads after a character, or None where one of them matches before it."""
        seen: set[int] = set()
        following = {0}
        for thread in threads:
            for at in self._follow(thread, before, after, seen):
                if self.steps[at].kind == "match":
                    return None
                if after and self.steps[at].test(after):
                    following.add(at + 1)
        return frozenset(following)

    def find(self, text: str, start: int) -> tuple[int, int] | None:
        """Return where the leftmost match from `start` on begins and ends."""
        threads: list[tuple[int, int]] = []
        found: tuple[int, int] | None = None
        for position in range(start, len(text) + 1):
            if found is None:
                threads.append((0, position))
            if not threads:
                break
            threads, match = self._move(threads, text, position)
            found = found if match is None else (match, position)
        return found

    def _move(
        self, threads: list[tuple[int, int]], text: str, position: int
    ) -> tuple[list[tuple[int, int]], int | None]:
        """Return the threads after a character, and the start of a match that ends before it."""
        before, after = text[position - 1 : position], text[position : position + 1]
        seen: set[int] = set()
        moved: list[tuple[int, int]] = []
        for thread, begin in threads:
            for at in self._follow(thread, before, after, seen):
                if self.steps[at].kind == "match":
                    return moved, begin
                if after and self.steps[at].test(after):
                    moved.append((at + 1, begin))
        return moved, None


def degree(pattern: str, flags: int) -> int:
    """Return the power of the text's length that backtracking may take; 99 where it has none."""
    return _degree(_parser.parse(pattern, flags))


_ENDLESS: Final = 99


def _degree(nodes: Any) -> int:
    total = 0
    for kind, argument in nodes:
        name = str(kind)
        if name in {"MAX_REPEAT", "MIN_REPEAT"}:
            total += _repeat_degree(*argument)
        elif name == "SUBPATTERN":
            total += _degree(argument[3])
        elif name == "BRANCH":
            total += 1 + sum(map(_degree, argument[1]))
    return min(total, _ENDLESS)


def _repeat_degree(least: int, most: int, nodes: Any) -> int:
    inner = _degree(nodes)
    if least == most:
        return inner * int(most)
    if most == 1:
        return inner + 1
    return _ENDLESS if inner else 1
