"""Bodies that nobody can read, and what is said of them."""

import pytest

from minikube_py.api.apps import CONTROLLERREVISIONS
from minikube_py.api.core import CONFIGMAPS
from minikube_py.api.errors import BadRequestError
from minikube_py.server.apiserver import body

HEAD = "the object provided is unrecognized (must be of type ConfigMap): "
NO_HEAD = HEAD + "couldn't get version/kind; json parse error: "
YAML = "error decoding YAML: error converting YAML to JSON: yaml: line 1: "
STRUCT = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; '
    'Kind string "json:\\"kind,omitempty\\"" }'
)


@pytest.mark.parametrize(
    ("data", "form", "message"),
    [
        (b"", "json", NO_HEAD + "unexpected end of JSON input (<empty>)"),
        (
            b"{bad",
            "json",
            NO_HEAD + "invalid character 'b' looking for beginning of object key string ({bad)",
        ),
        (
            b"[]",
            "json",
            f"{NO_HEAD}json: cannot unmarshal array into Go value of type {STRUCT} (5b5d)",
        ),
        (
            b'{"kind":{}}',
            "json",
            NO_HEAD + "json: cannot unmarshal object into Go struct field .kind of type string "
            '({"kind":{}})',
        ),
        (
            b'{"apiVersion":"a/b/c","kind":"ConfigMap","metadata":{}}',
            "json",
            HEAD + 'unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c","kind":" ...)',
        ),
        (b"a: [", "yaml", HEAD + "yaml: line 1: did not find expected node content (613a205b)"),
        (b"a: [\n", "yaml", HEAD + "yaml: line 1: did not find expected node content (613a205b0a)"),
        (
            b"k8x\x00",
            "protobuf",
            HEAD + "provided data does not appear to be a protobuf message, expected prefix "
            "[107 56 115 0] (6b387800)",
        ),
    ],
)
def test_a_body_that_nobody_can_read_is_refused_in_upstreams_words(data, form, message):
    with pytest.raises(BadRequestError) as caught:
        body.parse(data, form, "ConfigMap")
    assert caught.value.message == message


@pytest.mark.parametrize(("data", "form"), [(b"null", "json"), (b"", "yaml"), (b"# x", "yaml")])
def test_nothing_is_an_empty_document(data, form):
    assert body.parse(data, form, "ConfigMap") == {}


def test_what_go_takes_for_json_is_json():
    assert body.parse(b'{"a":"\xff"}', "json", "ConfigMap") == {"a": "\ufffd"}
    assert body.parse(b'{"a":"\\ud800x"}', "json", "ConfigMap") == {"a": "\ufffdx"}
    assert body.parse(b'{"a":"\\ud83d\\ude00"}', "json", "ConfigMap") == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"{", "merge", "error decoding patch: unexpected end of JSON input"),
        (b"{", "strategic", "unexpected end of JSON input"),
        (b"[{", "json", "error decoding patch: unexpected end of JSON input"),
        (
            b"a: [\n",
            "apply",
            f"{YAML}did not find expected node content",
        ),
    ],
)
def test_a_patch_that_nobody_can_read_is_refused(data, kind, message):
    with pytest.raises(BadRequestError) as caught:
        body.parse_patch(data, kind)
    assert caught.value.message == message


def test_keys_that_stand_twice_in_yaml_are_found_with_their_lines():
    text = b"a: 1\nb:\n  c: x\n  c: y\na: 2\n3: x\n3: y\n"
    (found,) = body.repeated_in_yaml(text, "Strict")
    assert found.split("\n  ") == [
        "yaml: unmarshal errors:",
        'line 4: key "c" already set in map',
        'line 5: key "a" already set in map',
        "line 7: key 3 already set in map",
    ]
    assert body.repeated_in_yaml(text, "Ignore") == ()
    assert body.repeated_in_yaml(b"a: 1\n", "Strict") == ()


@pytest.mark.parametrize(
    ("more", "resource", "has_text"),
    [
        ("", CONFIGMAPS, False),
        (',"data":{}', CONFIGMAPS, True),  # a key that stands twice
        ("", CONTROLLERREVISIONS, True),  # its free-form values are kept as they are written
    ],
)
def test_of_a_large_body_the_text_is_kept_where_it_says_more(more, resource, has_text):
    values = ",".join(f'"k{n}":"v"' for n in range(10_000))
    data = f'{{"data":{{{values}}}{more}}}'.encode()
    document, text = body.parse_with_text(data, "json", resource)
    assert set(document) == {"data"}
    assert text == (data if has_text else b"")


def test_of_a_small_body_the_text_is_kept():
    assert body.parse_with_text(b'{"a":1}', "json", CONFIGMAPS) == ({"a": 1}, b'{"a":1}')
    assert body.parse_with_text(b"a: 1", "yaml", CONFIGMAPS) == ({"a": 1}, b"")
