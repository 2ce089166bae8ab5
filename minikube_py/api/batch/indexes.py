"""Sets of completion indexes as jobs write them: `0,2-4,7`, growing, each below completions."""

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


def format_intervals(indexes: list[int]) -> str:
    """Return the text of a sorted list of indexes."""
    parts: list[list[int]] = []
    for index in indexes:
        if parts and parts[-1][-1] == index - 1:
            parts[-1][1:] = [index]
        else:
            parts.append([index])
    return ",".join("-".join(map(str, part)) for part in parts)


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
