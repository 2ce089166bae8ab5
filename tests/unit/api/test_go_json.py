"""What Go says of texts that are no JSON."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.go_json import DEPTH_MAX, syntax_error

END = "unexpected end of JSON input"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", END),
        ("  ", END),
        ("{", END),
        ('{"a"', END),
        ('{"a":', END),
        ('{"a":1', END),
        ("[1,", END),
        ('"abc', END),
        ("tru", END),
        ("-", END),
        ("1.", END),
        ("{bad", "invalid character 'b' looking for beginning of object key string"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"', "invalid character '\"' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("x", "invalid character 'x' looking for beginning of value"),
        ("{} {}", "invalid character '{' after top-level value"),
        ("{}\f", "invalid character '\\f' after top-level value"),
        ('"a\nb"', "invalid character '\\n' in string literal"),
        ('"\\q"', "invalid character 'q' in string escape code"),
        ('"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        ("trub", "invalid character 'b' in literal true (expecting 'e')"),
        ("nul!", "invalid character '!' in literal null (expecting 'l')"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("'a'", "invalid character '\\'' looking for beginning of value"),
        ("\x00", "invalid character '\\x00' looking for beginning of value"),
        ("[" * (DEPTH_MAX + 1), "exceeded max depth"),
    ],
)
def test_the_first_byte_that_cannot_follow_is_named_with_its_place(text, error):
    assert syntax_error(text.encode()) == error


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
).filter(lambda value: "inf" not in repr(value))


@given(JSON, st.sampled_from([0, orjson.OPT_INDENT_2]))
def test_json_is_no_error_and_its_beginning_is(value, option):
    try:
        data = orjson.dumps(value, option=option)
    except TypeError:
        return  # lone surrogates
    assert syntax_error(data) == ""
    if isinstance(value, list | dict | str):
        assert syntax_error(data[:-1]) == END


@given(st.binary(max_size=40))
def test_no_text_breaks_the_scanner_and_what_a_strict_parser_takes_it_takes(data):
    error = syntax_error(data)
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    assert error == ""
