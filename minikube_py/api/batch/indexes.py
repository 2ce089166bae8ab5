"""Sets of completion indexes as jobs write them: `0,2-4,7`, growing, each below completions."""

import bisect
import itertools
from collections.abc import Iterable, Iterator

from minikube_py.api.fields import quote

Intervals = tuple[tuple[int, int], ...]


def parse(text: str, completions: int) -> Intervals:
    """Return the intervals of a set of indexes, both ends included.

    Raises:
        ValueError: in upstream's words.

    """
    intervals: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        first, last = _interval(part, completions)
        if intervals and intervals[-1][1] >= first:
            raise ValueError(_disorder(intervals[-1][1], first))
        intervals.append((first, last))
    return tuple(intervals)


def count(intervals: Intervals) -> int:
    """Return how many indexes there are."""
    return sum(last - first + 1 for first, last in intervals)


def format_intervals(intervals: Intervals) -> str:
    """Return the text of a set; two neighbours are two numbers, not an interval."""
    return ",".join(_shown(first, last) for first, last in intervals)


def _shown(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first}{',' if last == first + 1 else '-'}{last}"


def lenient(text: str, completions: int) -> Intervals:
    """Return what a text says of the indexes below completions; what cannot be read is left out.

    It may have been written before completions were lowered.
    """
    found = []
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if len(ends) <= 2 and all(end.isascii() and end.isdigit() for end in ends):
            first, last = int(ends[0]), min(int(ends[-1]), completions - 1)
            found += [(first, last)] if first <= last else []
    return union(tuple(found))


def of(indexes: Iterable[int]) -> Intervals:
    """Return the intervals of some indexes, in whatever order."""
    return union(tuple((index, index) for index in indexes))


def union(*sets: Intervals) -> Intervals:
    """Return all indexes that stand in any of the sets."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(itertools.chain(*sets)):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = merged[-1][0], max(merged[-1][1], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def has(intervals: Intervals, index: int) -> bool:
    """Tell whether an index stands in a set."""
    at = bisect.bisect_right(intervals, index, key=lambda one: one[0])
    return at > 0 and index <= intervals[at - 1][1]


def common(one: Intervals, other: Intervals) -> int:
    """Return how many indexes stand in both sets."""
    total = at = 0
    for first, last in one:
        while at < len(other) and other[at][1] < first:
            at += 1
        for low, high in itertools.islice(other, at, None):
            if low > last:
                break
            total += min(last, high) - max(first, low) + 1
    return total


def missing(intervals: Intervals, completions: int) -> Iterator[int]:
    """Yield the indexes below completions that do not stand in a set."""
    start = 0
    for first, last in intervals:
        yield from range(start, min(first, completions))
        start = last + 1
    yield from range(start, completions)


def overlap(one: Intervals, other: Intervals) -> int | None:
    """Return an index that stands in both sets, or None."""
    for first, last in one:
        for low, high in other:
            if max(first, low) <= min(last, high):
                return max(first, low)
    return None


def _disorder(before: int, now: int) -> str:
    return f"non-increasing order, previous: {before}, current: {now}"


def _interval(part: str, completions: int) -> tuple[int, int]:
    ends = part.split("-")
    if len(ends) > 2:
        raise ValueError(
            f"the fragment {quote(part)} violates the requirement that an index interval can have "
            "at most two parts separated by '-'"
        )
    numbers = [_index(end, completions) for end in ends]
    if len(numbers) == 2 and numbers[0] >= numbers[1]:
        raise ValueError(_disorder(numbers[0], numbers[1]))
    return numbers[0], numbers[-1]


def _index(text: str, completions: int) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise ValueError(f"cannot convert string to integer for index: {quote(text)}")
    if int(text) >= completions:
        raise ValueError(f"too large index: {quote(text)}")
    return int(text)
