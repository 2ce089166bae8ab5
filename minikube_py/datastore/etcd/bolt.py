"""Writing a bbolt database from sorted entries: the file in which etcd keeps its keys.

Pages of 4 KB; a page has a header, then elements, then the keys and values to which these point.
Entries are in leaf pages; branch pages have the first key of each page below. A bucket is an entry
of the root's leaf whose value is the number of the bucket's own root page. Two meta pages at the
start say where the root is (https://github.com/etcd-io/bbolt, page.go, node.go and db.go).
"""

import struct
from collections.abc import Iterable
from typing import BinaryIO

PAGE_BYTES = 4096
BRANCH, LEAF, META, FREELIST = 0x01, 0x02, 0x04, 0x10
"""What a page is."""
BUCKET = 0x01
"""Marks an entry that is a bucket."""
MAGIC, VERSION = 0xED0CDAED, 2
PAGE_HEADER = struct.Struct("<QHHI")
LEAF_ELEMENT = struct.Struct("<IIII")
BRANCH_ELEMENT = struct.Struct("<IIQ")
META_FIELDS = struct.Struct("<IIIIQQQQQ")
FIRST_PAGE = 3
"""After two meta pages and the list of free pages."""
FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3

Entry = tuple[int, bytes, bytes]
"""Flags, key, value."""


class BoltWriter:
    """Writes buckets one after the other into an empty file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._next = FIRST_PAGE
        self._buckets: list[Entry] = []
        file.seek(FIRST_PAGE * PAGE_BYTES)

    def finish(self) -> None:
        """Write the root and the pages at the start."""
        root = Pages(self)
        for bucket in sorted(self._buckets, key=lambda entry: entry[1]):
            root.add(bucket)
        at = root.finish()
        self._file.seek(0)
        for number in range(2):
            self._file.write(_meta(number, at, self._next))
        self._file.write(_page(2, FREELIST, 0, b""))

    def bucket(self, name: bytes, pages: "Pages") -> None:
        """Take in a bucket whose entries are all there."""
        self._buckets.append((BUCKET, name, struct.pack("<QQ", pages.finish(), 0)))

    def write(self, kind: int, count: int, body: bytes) -> int:
        """Write a page and return its number."""
        number, page = self._next, _page(self._next, kind, count, body)
        self._file.write(page)
        self._next += len(page) // PAGE_BYTES
        return number


class Pages:
    """The entries of one bucket, which come in the order of their keys."""

    def __init__(self, writer: BoltWriter) -> None:
        self._writer = writer
        self._entries: list[Entry] = []
        self._bytes = PAGE_HEADER.size
        self._below: list[tuple[bytes, int]] = []
        """First key and number of the pages that are written."""

    def add(self, entry: Entry) -> None:
        """Add an entry whose key comes after all others."""
        size = LEAF_ELEMENT.size + len(entry[1]) + len(entry[2])
        if self._entries and self._bytes + size > PAGE_BYTES:
            self._flush()
        self._entries.append(entry)
        self._bytes += size

    def _flush(self) -> None:
        number = self._writer.write(LEAF, len(self._entries), _leaf(self._entries))
        first = self._entries[0][1] if self._entries else b""
        self._below.append((first, number))
        self._entries, self._bytes = [], PAGE_HEADER.size

    def finish(self) -> int:
        """Write what is left, and return the number of the page at the top."""
        if self._entries or not self._below:
            self._flush()
        while len(self._below) > 1:
            self._below = [self._branch(part) for part in _parts(self._below)]
        return self._below[0][1]

    def _branch(self, below: list[tuple[bytes, int]]) -> tuple[bytes, int]:
        return below[0][0], self._writer.write(BRANCH, len(below), _branches(below))


def _parts(below: list[tuple[bytes, int]]) -> Iterable[list[tuple[bytes, int]]]:
    """Yield what goes into one branch page each."""
    part: list[tuple[bytes, int]] = []
    size = PAGE_HEADER.size
    for key, number in below:
        weight = BRANCH_ELEMENT.size + len(key)
        if len(part) > 1 and size + weight > PAGE_BYTES:
            yield part
            part, size = [], PAGE_HEADER.size
        part.append((key, number))
        size += weight
    yield part


def _leaf(entries: list[Entry]) -> bytes:
    elements: list[bytes] = []
    data: list[bytes] = []
    at = len(entries) * LEAF_ELEMENT.size
    for number, (flags, key, value) in enumerate(entries):
        position = at - number * LEAF_ELEMENT.size  # counted from the element itself
        elements.append(LEAF_ELEMENT.pack(flags, position, len(key), len(value)))
        data += (key, value)
        at += len(key) + len(value)
    return b"".join((*elements, *data))


def _branches(below: list[tuple[bytes, int]]) -> bytes:
    elements: list[bytes] = []
    data: list[bytes] = []
    at = len(below) * BRANCH_ELEMENT.size
    for number, (key, page) in enumerate(below):
        position = at - number * BRANCH_ELEMENT.size
        elements.append(BRANCH_ELEMENT.pack(position, len(key), page))
        data.append(key)
        at += len(key)
    return b"".join((*elements, *data))


def _page(number: int, kind: int, count: int, body: bytes) -> bytes:
    pages = -(-(PAGE_HEADER.size + len(body)) // PAGE_BYTES)
    page = PAGE_HEADER.pack(number, kind, count, pages - 1) + body
    return page.ljust(pages * PAGE_BYTES, b"\0")


def _meta(number: int, root: int, pages: int) -> bytes:
    fields = META_FIELDS.pack(MAGIC, VERSION, PAGE_BYTES, 0, root, 0, 2, pages, number)
    return _page(number, META, 0, fields + struct.pack("<Q", _checksum(fields)))


def _checksum(data: bytes) -> int:
    """Return FNV-1a of 64 bits."""
    total = FNV_OFFSET
    for byte in data:
        total = (total ^ byte) * FNV_PRIME & 0xFFFF_FFFF_FFFF_FFFF
    return total
