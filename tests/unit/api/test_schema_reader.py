"""Strict reading: duplicate and unknown fields, in the order of the text."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import schema
from minikube_py.api.schema_reader import decode, has_duplicates

CONFIGMAP = schema.type_of("io.k8s.api.core.v1.ConfigMap")


@pytest.mark.parametrize(
    ("body", "problems"),
    [
        (
            b'{"metadata":{"name":"a","name":"b"},"data":{"k":"1","k":"2"}}',
            ['duplicate field "metadata.name"', 'duplicate field "data.k"'],
        ),
        (
            b'{"data":{"k":"1"},"data":{"j":"2"},"bogus":1}',
            ['duplicate field "data"', 'unknown field "bogus"'],
        ),
        (
            b'{"Kind":"x","kind":"ConfigMap","DATA":{"a":"b"}}',
            ['unknown field "Kind"', 'unknown field "DATA"'],
        ),
        (b'{ "data" : { "a\\":" : "\\":" } }', []),
    ],
)
def test_problems_are_named_in_the_order_of_the_text(body, problems):
    assert decode(CONFIGMAP, body, strict=True).problems == problems


def test_a_map_that_stands_twice_is_merged():
    decoded = decode(CONFIGMAP, b'{"data":{"k":"1"},"data":{"j":"2"}}', strict=True)
    assert decoded.obj == {"data": {"k": "1", "j": "2"}}


@given(st.dictionaries(st.text(), st.text()))
def test_distinct_keys_are_never_reported(data):
    assert decode(CONFIGMAP, orjson.dumps({"data": data}), strict=True).problems == []


@given(st.text(), st.lists(st.text(), max_size=4))
def test_a_repeated_key_is_always_suspected(key, others):
    name = orjson.dumps(key)
    members = [name + b":1", *[orjson.dumps(o) + b" :2" for o in others], name + b"\t\n:3"]
    body = b"{" + b",".join(members) + b"}"
    assert has_duplicates(body, orjson.loads(body))
