"""From etcd's keys, which are bytes, to the backend's, which are text.

A key is UTF-8 text, as all keys of Kubernetes are; others are refused. The order of UTF-8's bytes
is that of the characters, so ranges mean the same on both sides. The bounds of a range may be any
bytes: for each there is a text that stands at the same place among the keys.
"""

from bisect import bisect_left
from itertools import takewhile
from typing import NamedTuple

from minikube_py.datastore.face.refusals import EMPTY_KEY, NOT_TEXT, OWN_KEY, RefusedError

OWN = "/kpy/etcd/"
"""Below this the face keeps leases and members; clients neither read nor write it."""
LAST = chr(0x10FFFF) * 2
"""After all keys."""
CHARACTERS = range(1, 0x110000)
SURROGATES = range(0xD800, 0xE000)
"""Numbers that are no characters of texts."""
AFTER_SURROGATES = 0xE000


class Span(NamedTuple):
    """The keys with first <= key < end."""

    first: str
    end: str

    @property
    def is_single(self) -> bool:
        """Whether it is one key."""
        return self.end == self.first + "\0"

    @property
    def is_empty(self) -> bool:
        """Whether no key can be in it."""
        return self.end <= self.first

    @property
    def has_own(self) -> bool:
        """Whether keys of kpy's own may be in it, which nobody is to see."""
        return self.first < OWN_END and self.end > OWN

    @property
    def prefix(self) -> str:
        """What all keys in it begin with."""
        if self.is_single:
            return self.first
        # A range for a prefix ends at the prefix with its last character raised by one.
        if (last := ord(self.end[-1])) > 0:
            tight = self.end[:-1] + chr(last - 1)
            if self.first.startswith(tight):
                return tight
        pairs = zip(self.first, self.end, strict=False)
        return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    def contains(self, key: str) -> bool:
        """Tell whether a key is in it."""
        return self.first <= key < self.end

    def ends_with_prefix(self, prefix: str) -> bool:
        """Tell whether all keys with the prefix that are not before the span are in it."""
        if self.end == LAST or not prefix:
            return self.end == LAST
        return self.end[:-1] == prefix[:-1] and ord(self.end[-1]) - 1 == ord(prefix[-1])


OWN_END = OWN[:-1] + "0"


def is_own(key: str) -> bool:
    """Tell whether a key is kpy's own."""
    return key.startswith(OWN)


def span(key: bytes, range_end: bytes) -> Span:
    """Return the span of a request: one key, a range, or with the end NUL all from a key on."""
    first = bound(key)
    if not range_end:
        is_text = first.encode(errors="surrogatepass") == key
        return Span(first, first + "\0" if is_text else first)
    return Span(first, LAST if range_end == b"\0" else bound(range_end))


def bound(key: bytes) -> str:
    """Return the text that stands among all texts where the bytes stand among their bytes."""
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        start, rest = key[: error.start].decode(), key[error.start :]
    place = bisect_left(CHARACTERS, rest, key=_encoded)
    if place == len(CHARACTERS):
        return start + LAST
    number = CHARACTERS[place]
    return start + chr(AFTER_SURROGATES if number in SURROGATES else number)


def _encoded(number: int) -> bytes:
    return chr(number).encode(errors="surrogatepass")


def text_of(key: bytes) -> str:
    """Return a key that is to be written as text; raises RefusedError."""
    if not key:
        raise RefusedError(EMPTY_KEY)
    try:
        text = key.decode()
    except UnicodeDecodeError:
        raise RefusedError(NOT_TEXT) from None
    if "\0" in text:
        raise RefusedError(NOT_TEXT)
    if is_own(text):
        raise RefusedError(OWN_KEY)
    return text
