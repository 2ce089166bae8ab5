"""Ranges of costs and sizes, from the least to the most: 64 bits that do not overflow."""

from math import ceil
from typing import Final, NamedTuple

MOST: Final = (1 << 64) - 1


class Range(NamedTuple):
    """Between two amounts, both included."""

    least: int
    most: int

    def plus(self, other: "Range") -> "Range":
        """Return the range of the sum."""
        return Range(min(self.least + other.least, MOST), min(self.most + other.most, MOST))

    def times(self, other: "Range") -> "Range":
        """Return the range of the product."""
        return Range(min(self.least * other.least, MOST), min(self.most * other.most, MOST))

    def scaled(self, factor: float) -> "Range":
        """Return the range times a factor, rounded up."""
        return Range(_scaled(self.least, factor), _scaled(self.most, factor))

    def union(self, other: "Range") -> "Range":
        """Return the range that holds both."""
        return Range(min(self.least, other.least), max(self.most, other.most))


def _scaled(amount: int, factor: float) -> int:
    product = float(amount) * factor
    return MOST if product >= float(MOST) else ceil(product)


def exactly(amount: int) -> Range:
    """Return the range of one amount."""
    return Range(amount, amount)


ZERO: Final = exactly(0)
ONE: Final = exactly(1)
UNKNOWN: Final = Range(0, MOST)
NEVER: Final = Range(MOST, 0)
"""The neutral element of `union`."""
