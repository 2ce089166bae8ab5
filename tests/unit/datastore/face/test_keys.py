"""Keys are text and bounds are bytes; both orders are one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.datastore.face.keys import bound, span, text_of
from minikube_py.datastore.face.refusals import RefusedError

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
BOUNDS = st.binary(min_size=1, max_size=6) | TEXTS.map(str.encode)


@given(text=TEXTS, key=BOUNDS)
def test_a_bound_stands_among_texts_where_its_bytes_stand(text: str, key: bytes) -> None:
    assert (text.encode() < key) == (text < bound(key))


@given(text=TEXTS, first=BOUNDS, end=BOUNDS | st.just(b""))
def test_a_span_contains_what_etcds_range_contains(text: str, first: bytes, end: bytes) -> None:
    where, key = span(first, end), text.encode()
    inside = first <= key and (end == b"\0" or key < end)
    expected = inside if end else key == first
    assert where.contains(text) == expected
    if expected:
        assert text.startswith(where.prefix)


@given(prefix=TEXTS, text=TEXTS)
def test_a_prefixs_range_is_read_by_that_prefix(prefix: str, text: str) -> None:
    prefix += "/"
    where = span(prefix.encode(), prefix[:-1].encode() + b"0")
    assert where.prefix == prefix
    assert where.ends_with_prefix(prefix)
    assert where.contains(prefix + text)


@pytest.mark.parametrize("key", [b"a\xff", b"\xc3", b"a\0b", b"/kpy/etcd/leases/1", b""])
def test_other_keys_are_refused(key: bytes) -> None:
    with pytest.raises(RefusedError):
        text_of(key)
