"""Links in pages that pass through the proxy lead back to the proxy.

A page that a pod serves knows nothing of the path at which the client sees it. As it streams by,
the attributes that hold links are rewritten; all else goes on byte by byte. Which attributes of
which elements are links is upstream's list (apimachinery, util/proxy/transport.go).
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp

from minikube_py.lib.forwarding import Through

Change = Callable[[str], str]
"""Makes of a link another one."""
TAG_BYTES_MAX = 64 << 10
"""What does not end within so many bytes is taken for no tag."""
PIECE_BYTES = 256 << 10
"""No more of a compressed page is unpacked at once."""

_LINKS: Final[Mapping[bytes, frozenset[bytes]]] = {
    element: frozenset(names.split())
    for element, names in {
        b"a": b"href",
        b"applet": b"codebase",
        b"area": b"href",
        b"audio": b"src",
        b"base": b"href",
        b"blockquote": b"cite",
        b"body": b"background",
        b"button": b"formaction",
        b"command": b"icon",
        b"del": b"cite",
        b"embed": b"src",
        b"form": b"action",
        b"frame": b"longdesc src",
        b"head": b"profile",
        b"html": b"manifest",
        b"iframe": b"longdesc src",
        b"img": b"longdesc src usemap",
        b"input": b"src usemap formaction",
        b"ins": b"cite",
        b"link": b"href",
        b"object": b"classid codebase data usemap",
        b"q": b"cite",
        b"script": b"src",
        b"source": b"src",
        b"video": b"poster src",
    }.items()
}
_TEXT_ONLY: Final = frozenset({
    b"iframe", b"noembed", b"noframes", b"noscript", b"script", b"style", b"textarea", b"title",
    b"xmp",
})  # fmt: skip
"""What stands in these holds no tags."""
_TAG = re.compile(rb"<([a-zA-Z][^\s/>]*+)(?:[^\"'>]++|\"[^\"]*+\"|'[^']*+')*+>")
_ATTRIBUTE = re.compile(rb"([^\s\"'<>/=]++)(\s*+=\s*+)(\"[^\"]*+\"|'[^']*+'|[^\s\"'>]++)")
_WINDOW_BITS: Final = {"gzip": 31, "deflate": -15}
"""How zlib names the encodings that upstream understands."""


class Links:
    """Changes the links of a page."""

    def __init__(self, change: Change) -> None:
        """Begin before the first byte."""
        self._change = change
        self._held = b""
        self._until: re.Pattern[bytes] | None = None
        """Up to where all is text."""

    def feed(self, data: bytes) -> bytes:
        """Return the page as far as it is certain after these bytes."""
        page, self._held = self._held + data, b""
        gone: list[bytes] = []
        place = 0
        while place < len(page):
            if self._until is None:
                place = self._markup(page, place, gone)
            else:
                place = self._text(self._until, page, place, gone)
        return b"".join(gone)

    def rest(self) -> bytes:
        """Return what looked like the beginning of a tag, and was none."""
        held, self._held = self._held, b""
        return held

    def _text(self, until: re.Pattern[bytes], page: bytes, place: int, gone: list[bytes]) -> int:
        """Pass on text up to its end; return how far that was."""
        found = until.search(page, place)
        if found is not None:
            self._until = None
            gone.append(page[place : found.start()])
            return found.start()
        kept = max(place, len(page) - 16)  # the end may have begun
        gone.append(page[place:kept])
        self._held = page[kept:]
        return len(page)

    def _markup(self, page: bytes, place: int, gone: list[bytes]) -> int:
        """Pass on up to the end of the next tag; return how far that was."""
        opened = page.find(b"<", place)
        if opened < 0:
            gone.append(page[place:])
            return len(page)
        gone.append(page[place:opened])
        if page.startswith(b"<!--", opened):
            self._until = re.compile(rb"-->")
            gone.append(b"<!--")
            return opened + 4
        tag = _TAG.match(page, opened)
        if tag is not None:
            gone.append(self._tag(tag[0], tag[1].lower()))
            return tag.end()
        if len(page) - opened < TAG_BYTES_MAX and _may_begin(page[opened : opened + 4]):
            self._held = page[opened:]
            return len(page)
        gone.append(b"<")
        return opened + 1

    def _tag(self, tag: bytes, element: bytes) -> bytes:
        if element in _TEXT_ONLY and not tag.endswith(b"/>"):
            self._until = re.compile(rb"</" + element, re.IGNORECASE)
        names = _LINKS.get(element)
        if names is None:
            return tag

        def changed(found: re.Match[bytes]) -> bytes:
            name, between, value = found.groups()
            if name.lower() not in names:
                return found[0]
            quote = value[:1] if value[:1] in (b'"', b"'") else b""
            link = value[len(quote) : len(value) - len(quote)]
            other = self._change(link.decode(errors="surrogateescape"))
            return name + between + quote + other.encode(errors="surrogateescape") + quote

        begin = 1 + len(element)
        return tag[:begin] + _ATTRIBUTE.sub(changed, tag[begin:])


def _may_begin(text: bytes) -> bool:
    """Tell whether a tag or a comment may begin so, when more comes."""
    return text[1:2].isalpha() or b"<!--".startswith(text)


class Packed:
    """Changes the links of a compressed page."""

    def __init__(self, links: Links, window_bits: int) -> None:
        """Begin before the first byte."""
        self._links = links
        self._unpacking = zlib.decompressobj(window_bits)
        self._packing = zlib.compressobj(wbits=window_bits)

    def feed(self, data: bytes) -> bytes:
        """Return what can go on; raises ClientPayloadError where the page is damaged."""
        gone = []
        try:
            while data:
                page = self._unpacking.decompress(data, PIECE_BYTES)
                gone.append(self._packing.compress(self._links.feed(page)))
                data = self._unpacking.unconsumed_tail
        except zlib.error as error:
            raise aiohttp.ClientPayloadError(str(error)) from error
        return b"".join(gone)

    def rest(self) -> bytes:
        """Return what was held back to the end."""
        page = self._links.feed(self._unpacking.flush()) + self._links.rest()
        return self._packing.compress(page) + self._packing.flush()


def through(headers: Mapping[str, str], change: Change) -> Through | None:
    """Return what changes the body of an answer; None where it goes on as it is."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip()
    if kind != "text/html" or headers.get("Location"):
        return None
    encoding = headers.get("Content-Encoding", "")
    if not encoding:
        return Links(change)
    bits = _WINDOW_BITS.get(encoding)
    return Packed(Links(change), bits) if bits is not None else None
