"""Amounts of resources: `100m`, `1Gi`, `1e3`; exact, and printed as upstream prints them.

A quantity is a whole number of nanos (10^-9) and the family of suffixes that it was written with.
Parsing rounds what is finer than a nano away from zero. The rules, the errors and the canonical
form are those of apimachinery's `api/resource`, among them its habit to keep the text of a short
amount that looks canonical (`1.500` stays, `0.500` becomes `500m`).
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache, total_ordering
from typing import Literal

Format = Literal["DecimalSI", "BinarySI", "DecimalExponent"]

FORMAT_ERROR = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)
NUMERIC_ERROR = "unable to parse numeric part of quantity"
SUFFIX_ERROR = "unable to parse quantity's suffix"

NANO = 10**9
EXPONENT_MAX = 1000
"""Upstream has no bound; a power beyond this is refused rather than computed."""
DIGITS_MAX = 1000
"""Like EXPONENT_MAX, for the digits of the number itself."""
BINARY_MAX = (1 << 63) - 1
"""Amounts with a binary suffix are capped here."""

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {0: ""} | {exponent: suffix for suffix, exponent in _BINARY.items()}
_SCAN = re.compile(r"([+-]?)0*([0-9]*)\.?([0-9]*)([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)", re.ASCII)
_FAST_DIGITS = 18
"""An amount of more digits than an int64 surely holds is not kept as text."""


@total_ordering
@dataclass(frozen=True, eq=False, slots=True)
class Quantity:
    """An exact amount; equal amounts are equal whatever their suffix."""

    nanos: int = 0
    format: Format = "DecimalSI"
    text: str = field(default="", repr=False)
    """The text it was parsed from, where that is printed again as it is."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nanos == other.nanos

    def __lt__(self, other: "Quantity") -> bool:
        return self.nanos < other.nanos

    def __gt__(self, other: "Quantity") -> bool:
        return self.nanos > other.nanos

    def __hash__(self) -> int:
        return hash(self.nanos)

    def __bool__(self) -> bool:
        return self.nanos != 0

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos + other.nanos, self.format if self.nanos else other.format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        return Quantity(self.nanos - other.nanos, self.format if self.nanos else other.format)

    def __neg__(self) -> "Quantity":
        return Quantity(-self.nanos, self.format)

    def value(self) -> int:
        """Return the amount in whole units, rounded away from zero."""
        return _divide_away(self.nanos, NANO)

    def milli_value(self) -> int:
        """Return the amount in thousandths, rounded away from zero."""
        return _divide_away(self.nanos, NANO // 1000)

    def __str__(self) -> str:
        """Return the canonical text."""
        if self.text:
            return self.text
        if not self.nanos:
            return "0"
        if self.format == "BinarySI" and abs(self.nanos) >= 1024 * NANO and not self.nanos % NANO:
            return _binary_text(self.nanos // NANO)
        return _decimal_text(self.nanos, exponential=self.format == "DecimalExponent")


ZERO = Quantity()


def _divide_away(amount: int, divisor: int) -> int:
    whole = -(-abs(amount) // divisor)
    return whole if amount >= 0 else -whole


def _binary_text(units: int) -> str:
    exponent = 0
    while exponent < 60 and not units % 1024:
        units //= 1024
        exponent += 10
    return f"{units}{_BINARY_SUFFIX[exponent]}"


def _decimal_text(nanos: int, *, exponential: bool) -> str:
    exponent = -9
    while not nanos % 1000 and (exponential or exponent < 18):
        nanos //= 1000
        exponent += 3
    if exponential:
        return f"{nanos}e{exponent}" if exponent else str(nanos)
    return f"{nanos}{_DECIMAL_SUFFIX[exponent]}"


def of(units: int, format_: Format = "DecimalSI") -> Quantity:
    """Return the quantity of so many whole units."""
    return Quantity(units * NANO, format_)


def of_milli(millis: int, format_: Format = "DecimalSI") -> Quantity:
    """Return the quantity of so many thousandths."""
    return Quantity(millis * (NANO // 1000), format_)


@lru_cache(maxsize=8192)
def parse(text: str) -> Quantity:
    """Parse an amount.

    Raises:
        ValueError: with upstream's text; the text is no quantity.

    """
    if text == "0":
        return Quantity(0, "DecimalSI", "0")
    match = _SCAN.fullmatch(text) if text else None
    if match is None:
        raise ValueError(FORMAT_ERROR)
    sign, whole, fraction, suffix = match.groups()
    base, exponent, format_ = _suffix(suffix)
    digits = (whole or "0") + fraction
    if len(digits) > DIGITS_MAX:
        raise ValueError(NUMERIC_ERROR)
    nanos = _nanos(int(digits), len(fraction), base, exponent)
    if format_ == "BinarySI":
        if 0 < nanos < NANO:
            format_ = "DecimalSI"
        nanos = min(nanos, BINARY_MAX * NANO)
    kept = text if _is_kept(digits, len(fraction), exponent, format_) else ""
    return Quantity(-nanos if sign == "-" else nanos, format_, kept)


def _suffix(suffix: str) -> tuple[int, int, Format]:
    """Return base, exponent and family of a suffix."""
    if suffix in _DECIMAL:
        return 10, _DECIMAL[suffix], "DecimalSI"
    if suffix in _BINARY:
        return 2, _BINARY[suffix], "BinarySI"
    match = _EXPONENT.fullmatch(suffix)
    if match is None or len(match[1]) > 20 or int(match[1]) > EXPONENT_MAX:
        raise ValueError(SUFFIX_ERROR)
    return 10, int(match[1]), "DecimalExponent"


def _nanos(digits: int, places: int, base: int, exponent: int) -> int:
    """Return digits * 10^-places * base^exponent in nanos, rounded up."""
    if base == 2:
        return _divide_away(digits * (1 << exponent) * NANO, 10**places)
    shift = exponent - places + 9
    if shift >= 0:
        return int(digits * 10**shift)
    if -shift > DIGITS_MAX:
        return 1 if digits else 0
    return _divide_away(digits, 10**-shift)


def _is_kept(digits: str, places: int, exponent: int, format_: Format) -> bool:
    """Tell whether upstream's fast path keeps the text instead of making the canonical one."""
    if format_ == "BinarySI":
        # 15 - len(digits) - exponent * 3 / 10 - 1 >= 0 is upstream's estimate of what fits.
        fits = not places and 14 - len(digits) - int(exponent * 0.3) >= 0
        return fits and int(digits) & 7 != 0
    scale = exponent - places
    return (
        len(digits) <= _FAST_DIGITS
        and scale >= -9
        and scale % 3 == 0
        and not digits.endswith("000")
        and not digits.startswith("0")
    )


def canonical(value: str | float) -> str:
    """Return the canonical text of an amount as it stands in JSON, text or number.

    Raises:
        ValueError: with upstream's text.

    """
    return _canonical(value.strip() if isinstance(value, str) else repr(value))


@lru_cache(maxsize=8192)
def _canonical(text: str) -> str:
    return str(parse(text))


def value(text: str | float) -> int:
    """Return an amount's whole units, rounded away from zero."""
    return parse(str(text)).value()


def milli_value(text: str | float) -> int:
    """Return an amount's thousandths, rounded away from zero."""
    return parse(str(text)).milli_value()
