"""Free-form values are compared by their text where that is not ours, and written as they were."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import raw_text
from minikube_py.api.raw_text import RawText

PATHS = (("spec", "config", "[]", "parameters"), ("data",))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.fixed_dictionaries(
    {
        "spec": st.fixed_dictionaries(
            {"config": st.lists(st.fixed_dictionaries({"parameters": values}), max_size=3)}
        )
    },
    optional={"data": values, "other": values},
)
SPACED = b'{"spec": {"config": [{"parameters": {"b": 1, "a": "<x>"}}]}, "data": 3}'


def test_a_value_with_blanks_equals_only_one_with_the_same() -> None:
    one, same = (raw_text.load(SPACED, PATHS) for _ in range(2))
    compact = raw_text.load(orjson.dumps(orjson.loads(SPACED)), PATHS)
    assert one == same
    assert one != compact
    assert raw_text.flat(one, PATHS) == compact
    assert compact == orjson.loads(SPACED)


def test_the_order_of_keys_counts_where_a_text_is_not_ours() -> None:
    other = SPACED.replace(b'"b": 1, "a": "<x>"', b'"a": "<x>", "b": 1')
    assert raw_text.load(SPACED, PATHS) != raw_text.load(other, PATHS)


def test_a_value_is_written_as_it_was_read() -> None:
    data = orjson.dumps(raw_text.written(raw_text.load(SPACED, PATHS), PATHS))
    assert b'"parameters":{"b": 1, "a": "<x>"}' in data
    assert raw_text.load(data, PATHS) == raw_text.load(SPACED, PATHS)


@given(obj=objects, indent=st.sampled_from([None, 1]), escaped=st.booleans())
def test_reading_and_writing_keep_meaning_and_text(
    obj: dict[str, Any], indent: int | None, *, escaped: bool
) -> None:
    data = json.dumps(obj, indent=indent, ensure_ascii=escaped).encode(errors="surrogatepass")
    try:
        plain = orjson.loads(data)
    except ValueError:
        return  # lone surrogates
    read = raw_text.load(data, PATHS)
    assert raw_text.flat(read, PATHS) == plain
    again = raw_text.load(orjson.dumps(raw_text.written(read, PATHS)), PATHS)
    assert again == read


@given(objects)
def test_what_is_written_our_way_is_plain(obj: dict[str, Any]) -> None:
    try:
        data = orjson.dumps(obj)
    except ValueError:
        return  # lone surrogates
    read = raw_text.load(data, PATHS)
    assert not any(isinstance(config["parameters"], RawText) for config in read["spec"]["config"])


@pytest.mark.parametrize("data", [b'{"spec": []}', b'{"spec": {"config": {"a": 1}}}', b'{"x": 1}'])
def test_an_object_of_another_shape_is_left_alone(data: bytes) -> None:
    assert raw_text.load(data, PATHS) == orjson.loads(data)
