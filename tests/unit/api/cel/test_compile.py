"""What does not compile, in upstream's words; types, adaptation and costs of what does."""

import pytest

from minikube_py.api import cel
from minikube_py.api.cel import types
from minikube_py.api.cel.escaping import escape, unescape
from minikube_py.api.cel.values import Duration, Timestamp

SPEC = types.object_of(
    "Spec",
    {
        "replicas": types.INT,
        "ratio": types.DOUBLE,
        "when": types.TIMESTAMP,
        "wait": types.DURATION,
        "data": types.BYTES,
        "weights": types.list_of(types.DOUBLE),
        "limits": types.map_of(types.STRING, types.DOUBLE),
        "a__dash__b": types.STRING,
        "__in__": types.STRING,
    },
)
SELF = types.object_of("Self", {"spec": SPEC, "name": types.STRING})
STRUCTS = {
    "Object": types.object_of("Object", {"metadata": types.DYN}),
    "Object.metadata": types.object_of("Object.metadata", {"name": types.STRING}),
    "JSONPatch": types.object_of("JSONPatch", {"op": types.STRING, "value": types.DYN}),
}
VARIABLES = {"self": SELF, "object": types.DYN}
OPERANDS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT,"
    " STRING, BYTES, IDENTIFIER}"
)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("object.x +", 11, f"Syntax error: mismatched input '<EOF>' expecting {OPERANDS}"),
        ("(1", 3, "Syntax error: missing ')' at '<EOF>'"),
        ("1)", 2, "Syntax error: extraneous input ')' expecting <EOF>"),
        ("1 #", 3, "Syntax error: token recognition error at: '#'"),
        ("for", 1, "reserved identifier: for"),
        ("unknownvar == 1", 1, "undeclared reference to 'unknownvar' (in container '')"),
        ("nope(1)", 5, "undeclared reference to 'nope' (in container '')"),
        ("self.nope == 1", 5, "undefined field 'nope'"),
        ("self.name.x", 10, "type 'string' does not support field selection"),
        ("1 + 'a'", 3, "found no matching overload for '_+_' applied to '(int, string)'"),
        ("self.name > 1", 11, "found no matching overload for '_>_' applied to '(string, int)'"),
        ("1.size()", 7, "found no matching overload for 'size' applied to 'int.()'"),
        ("true && 1", 9, "expected type 'bool' but found 'int'"),
        (
            "true ? 1 : 'a'",
            6,
            "found no matching overload for '_?_:_' applied to '(bool, int, string)'",
        ),
        ("self.name[0]", 10, "found no matching overload for '_[_]' applied to '(string, int)'"),
        ("[1, 'a']", 5, "expected type 'int' but found 'string'"),
        ("object.a.matches('[')", 18, "invalid matches argument"),
        ("duration('x')", 10, "invalid duration argument"),
        ("timestamp('x')", 11, "invalid timestamp argument"),
        ("has(self)", 5, "invalid argument to has() macro"),
        ("[1].map(1, 2)", 9, "argument must be a simple name"),
        (
            "1.map(x, x)",
            1,
            (
                "expression of type 'int' cannot be range of a comprehension"
                " (must be list, map, or dynamic)"
            ),
        ),
        ("[1].all(x, x)", 12, "expected type 'bool' but found 'int'"),
        ("JSONPatch{nope: 1}", 11, "undefined field 'nope'"),
        ("99999999999999999999", 1, "invalid int literal"),
    ],
)
def test_a_mistake_is_reported_at_its_place(text: str, column: int, words: str) -> None:
    with pytest.raises(cel.CelError) as raised:
        cel.compile(text, VARIABLES, structs=STRUCTS)
    pointer = "." * (column - 1) + "^"
    assert str(raised.value) == f"ERROR: <input>:1:{column}: {words}\n | {text}\n | {pointer}"


def test_every_mistake_of_types_is_reported_with_its_line() -> None:
    with pytest.raises(cel.CelError) as raised:
        cel.compile("self.a == 1 ||\n  self.b == 2", VARIABLES)
    assert [line for line in str(raised.value).split("\n") if line.startswith("ERROR")] == [
        "ERROR: <input>:1:5: undefined field 'a'",
        "ERROR: <input>:2:7: undefined field 'b'",
    ]


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        (
            "Object{nope(",
            ["12: missing ':' at '('", f"13: mismatched input '<EOF>' expecting {OPERANDS}"],
        ),
        (
            "a | b",
            ["3: token recognition error at: '| '", "5: extraneous input 'b' expecting <EOF>"],
        ),
        (
            "1 + $",
            [
                "5: token recognition error at: '$'",
                f"6: mismatched input '<EOF>' expecting {OPERANDS}",
            ],
        ),
        (
            "*@a",
            [
                f"1: extraneous input '*' expecting {OPERANDS}",
                "2: token recognition error at: '@'",
            ],
        ),
        (
            "t{>C}",
            [
                "3: extraneous input '>' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}",
                "5: mismatched input '}' expecting ':'",
            ],
        ),
        ("f(1 2) + (3", ["5: extraneous input '2' expecting ')'", "12: missing ')' at '<EOF>'"]),
    ],
)
def test_reading_goes_on_after_a_mistake(text: str, mistakes: list[str]) -> None:
    with pytest.raises(cel.CelError) as raised:
        cel.compile(text, VARIABLES, structs=STRUCTS)
    prefix = "ERROR: <input>:1:"
    found = [line for line in str(raised.value).split("\n") if line.startswith(prefix)]
    assert [line.removeprefix(prefix).replace("Syntax error: ", "") for line in found] == mistakes


def test_both_sides_of_a_logical_operator_are_checked() -> None:
    with pytest.raises(cel.CelError) as raised:
        cel.compile("1 && 'a'", VARIABLES)
    assert [line for line in str(raised.value).split("\n") if line.startswith("ERROR")] == [
        "ERROR: <input>:1:1: expected type 'bool' but found 'int'",
        "ERROR: <input>:1:6: expected type 'bool' but found 'string'",
    ]


@pytest.mark.parametrize(
    "text", ["(" * 2000, "[" * 2000, "-" * 5000 + "x", "!" * 9999, "a." * 9999]
)
def test_deep_or_endless_text_is_refused(text: str) -> None:
    with pytest.raises(cel.CelError):
        cel.compile(text, {})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("self.spec.replicas + 1", "int"),
        ("self.spec.weights.map(w, w > 1.0)", "list(bool)"),
        ("self.?name", "optional_type(string)"),
        ("{'a': 1}", "map(string, int)"),
        ("object.x", "dyn"),
        ("self.spec.when - self.spec.when", "duration"),
        ("self.?name.orValue('x')", "string"),
        ("[1].sum()", "int"),
        ("Object{metadata: Object.metadata{name: 'x'}}", "Object"),
    ],
)
def test_the_type_of_an_expression_is_known(text: str, shown: str) -> None:
    assert str(cel.compile(text, VARIABLES, structs=STRUCTS).type) == shown


def test_fields_are_what_their_schema_says() -> None:
    spec = {
        "ratio": 3,
        "when": "1970-01-01T00:00:01Z",
        "wait": "1s",
        "data": "aGk=",
        "weights": [1, 2],
        "limits": {"x": 1},
        "a-b": "dash",
        "in": "word",
    }
    text = """[self.spec.ratio / 2.0, self.spec.when, self.spec.wait, self.spec.data,
        self.spec.weights[0] / 2.0, self.spec.limits.x / 4.0, self.spec.a__dash__b,
        self.spec.__in__, self.spec.?ratio.value() / 4.0]"""
    program = cel.compile(text, VARIABLES, homogeneous=False)
    assert program.evaluate({"self": {"spec": spec}}) == [
        1.5, Timestamp(10**9), Duration(10**9), b"hi", 0.5, 0.25, "dash", "word", 0.75,
    ]  # fmt: skip


def test_objects_that_an_expression_makes_are_plain_maps() -> None:
    text = "JSONPatch{op: 'add', value: Object{metadata: Object.metadata{name: 'x'}}}"
    program = cel.compile(text, {}, structs=STRUCTS)
    assert program.evaluate({}) == {"op": "add", "value": {"metadata": {"name": "x"}}}


@pytest.mark.parametrize("name", ["plain", "a-b", "a.b/c", "in", "namespace", "a__b"])
def test_an_escaped_name_means_its_property(name: str) -> None:
    escaped = escape(name)
    assert escaped is not None
    assert unescape(escaped) == name


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("1", 0),
        ("object.a.b", 3),
        ("1 + 2", 1),
        ("true && false", 0),
        ("[object, object]", 12),
        ("{'a': object}", 31),
        ("'aaaaaaaaaaaaaaaaaaaa' + 'b'", 3),
        ("'aaaaaaaaaaaaaaaaaaaa'.matches('bbbb')", 3),
        ("[1, 2, 3].all(x, x > 0)", 16),
    ],
)
def test_a_step_costs_what_upstream_reckons(text: str, units: int) -> None:
    assert cel.compile(text, VARIABLES).run({"object": {"a": {"b": 1}}}).cost == units


@pytest.mark.parametrize(
    "text",
    [
        "l.all(a, l.all(b, l.all(c, a + b + c >= 0)))",
        "cel.bind(s, 'x'.replace('x', t), s.replace('y', s).replace('y', s).replace('y', s)) == ''",
        "lists.range(999999999999) == []",
    ],
)
def test_what_costs_too_much_is_stopped(text: str) -> None:
    program = cel.compile(text, {"l": types.DYN, "t": types.STRING})
    with pytest.raises(cel.CelCostError, match="actual cost limit exceeded"):
        program.evaluate({"l": list(range(100)), "t": "y" * 20_000}, budget=100_000)
