"""Links of pages are changed as the pages pass, however they are cut; all else stays as it is."""

import gzip
import zlib
from itertools import pairwise

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.apiserver.links import TAG_BYTES_MAX, Links, Through, through


def below(link: str) -> str:
    return f"/proxy{link}" if link.startswith("/") else link


def passed(page: bytes, cuts: list[int], way: Through | None = None) -> bytes:
    """Return what becomes of a page that comes in pieces."""
    way = way or Links(below)
    places = [0, *sorted(cut % (len(page) + 1) for cut in cuts), len(page)]
    pieces = [page[a:b] for a, b in pairwise(places)]
    return b"".join(map(way.feed, pieces)) + way.rest()


@pytest.mark.parametrize(
    ("page", "wanted"),
    [
        ('<a href="/x">test</a>', '<a href="/proxy/x">test</a>'),
        ("<A HREF='/x' id=a>", "<A HREF='/proxy/x' id=a>"),
        ("<img alt='src=/x' src=/y>", "<img alt='src=/x' src=/proxy/y>"),
        ('<a href="next">', '<a href="next">'),
        ('<b href="/x">', '<b href="/x">'),
        ("<!-- <a href='/x'> --><a href='/x'>", "<!-- <a href='/x'> --><a href='/proxy/x'>"),
        (
            "<script src='/s'>'<a href=\"/x\">'</script><a href='/x'>",
            "<script src='/proxy/s'>'<a href=\"/x\">'</script><a href='/proxy/x'>",
        ),
        ("1 < 2 and <", "1 < 2 and <"),
        ("<a href='/never", "<a href='/never"),
        ('<form method="post" action="/do?a=1&amp;b=2#c">',
         '<form method="post" action="/proxy/do?a=1&amp;b=2#c">'),
    ],
)  # fmt: skip
def test_what_is_a_link_is_changed(page: str, wanted: str) -> None:
    assert passed(page.encode(), []).decode() == wanted


PARTS = [b"<a href='/x'>", b"<", b"<!--", b"-->", b"<script>", b"</script>", b'"', b"x", b"\xff"]


@given(st.lists(st.sampled_from(PARTS)), st.lists(st.integers(0, 99)))
def test_it_does_not_matter_how_a_page_is_cut(parts: list[bytes], cuts: list[int]) -> None:
    page = b"".join(parts)
    assert passed(page, cuts) == passed(page, [])
    assert passed(page, cuts, Links(str)) == page


def test_a_tag_without_end_is_not_held_for_ever() -> None:
    page = b"<a " + b"x" * TAG_BYTES_MAX
    assert Links(below).feed(page) == page


@pytest.mark.parametrize(("encoding", "bits"), [("gzip", 31), ("deflate", -15)])
def test_a_compressed_page_stays_compressed(encoding: str, bits: int) -> None:
    packing = zlib.compressobj(wbits=bits)
    page = packing.compress(b"<a href='/x'>" * 9) + packing.flush()
    way = through({"Content-Type": "text/html", "Content-Encoding": encoding}, below)
    assert zlib.decompress(passed(page, [7, 9], way), bits) == b"<a href='/proxy/x'>" * 9


def test_a_damaged_page_is_said_to_be_so() -> None:
    way = through({"Content-Type": "text/html", "Content-Encoding": "gzip"}, below)
    assert way is not None
    with pytest.raises(aiohttp.ClientPayloadError):
        way.feed(gzip.compress(b"page")[1:])


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {},
        {"Content-Type": "text/html", "Content-Encoding": "br"},
        {"Content-Type": "text/html", "Location": "/x"},
    ],
)
def test_what_is_no_page_goes_on_as_it_is(headers: dict[str, str]) -> None:
    assert through(headers, below) is None
