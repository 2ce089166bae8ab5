"""Our engine gives what Google's gives: a table, and expressions made up by hypothesis."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.api.cel.oracle import ours, theirs

DATA = {
    "n": 7,
    "z": 0,
    "d": 2.5,
    "s": "hello",
    "e": "",
    "t": True,
    "nil": None,
    "l": [3, 1, 2],
    "texts": ["b", "a"],
    "m": {"x": 1, "y": 2},
    "deep": {"items": [{"name": "one", "v": 1}, {"name": "two", "v": 2}]},
}
EXPRESSIONS = """
1 + 2 * 3 - 4 / 2 % 3
-7 / 2
-7 % 2
7 % -2
1.0 / 0.0
1 / 0
1 % 0
9223372036854775807 + 1
-9223372036854775808
-9223372036854775808 - 1
-(-9223372036854775808)
0xFF + 0x10
1u + 2u
1u - 2u
5u / 2u
1 + 1u
1 == 1u
1 == 1.0
1u == 1.0
dyn(1) < 1.5
dyn(2u) > 1
'a' == 1
[1] == [1.0]
{'a': 1} == {'a': 1u}
dyn(true) == dyn(1)
null == null
dyn('a') == null
'a' < 'b' && 'B' < 'a'
b'abc' < b'abd'
false < true
'x' + 'y'
b'x' + b'y'
[1] + [2, 3]
'\\u00e9\\n\\x41\\101'
r'\\n'
b'\\xff\\101é'
'''multi
line'''
true ? 1 : 2
false ? 1 / 0 : 2
true || 1 / 0 == 1
1 / 0 == 1 || true
1 / 0 == 1 || false
false && 1 / 0 == 1
1 / 0 == 1 && false
a.n > 5 && a.missing == 1
a.n > 5 || a.missing == 1
!a.t
!a.n
-a.s
a.n + a.d
a.missing
a.s.missing
a.m.x
a['m']['y']
a.m['nope']
a.l[0]
a.l[3]
a.l[-1]
a.l[1.0]
a.l[1u]
a.l['0']
{1: 'a', 2u: 'b'}[1.0]
{true: 'a'}[true]
{true: 'a', 1: 'b'}[1]
{'a': 1, 'a': 2}
{1.0: 2}
has(a.n)
has(a.missing)
has(a.missing.x)
has(a.m.x) && !has(a.m.z)
has({'x': null}.x)
1 in a.l
'x' in a.m
9 in a.l
'a' in {'a': 1}
1.0 in [1, 2]
size('héllo')
size(b'h\\xc3')
size(a.l) + a.l.size() + size(a.m)
a.l.all(x, x > 0)
a.l.all(x, x > 1)
a.l.exists(x, x == 2)
a.l.exists(x, 1 / (x - 3) > 0 || true)
a.l.exists(x, 1 / (x - 3) > 99)
a.l.all(x, 1 / (x - 3) < -99)
a.l.exists_one(x, x > 2)
a.l.map(x, x * 2)
a.l.map(x, x > 1, x * 2)
a.l.filter(x, x != 1)
a.m.map(k, k + '!').size()
a.m.filter(k, a.m[k] > 1)
a.m.all(k, k != 'q')
a.deep.items.filter(i, i.v > 1).map(i, i.name)
a.deep.items.exists(i, i.name == 'two')
a.n.map(x, x)
[[1, 2], [3]].map(l, l.map(x, x + size(l)))
a.?n.orValue(1)
a.?missing.orValue(1)
a.?m.?x.orValue(0)
a.?m.x.orValue(0)
a.?m.?q.hasValue()
a[?'m'].hasValue()
a.l[?9].orValue(-1)
a.l[?0].value()
optional.none().value()
optional.of(1).or(optional.of(2)).value()
optional.none().or(optional.of(2)).value()
optional.ofNonZeroValue('').hasValue()
optional.ofNonZeroValue(3).hasValue()
a.?n.optMap(x, x + 1).value()
a.?q.optMap(x, x + 1).hasValue()
a.?m.optFlatMap(m, m.?x).value()
[?a.?n, ?a.?q, 1]
{?'n': a.?n, ?'q': a.?q}
optional.of(1) == optional.of(1.0)
optional.none() == optional.of(1)
cel.bind(x, a.n, x * x)
int('42') + int(3.9) + int(-3.9) + int(5u)
int('4 2')
int(1e19)
uint(-1)
uint('7')
uint(3.5)
double('1.5') + double(2)
double('x')
bool('true') && !bool('false')
bool('yes')
string(42) + string(true) + string(b'abc') + string(7u)
string(b'\\xff')
bytes('é')
type(1) == int && type('') == string && type([]) == list
type(1) == uint
type(type(1)) == type
timestamp('2024-02-29T12:30:45.5Z')
timestamp('2024-02-30T00:00:00Z')
timestamp('2024-02-29T12:30:45+05:30')
timestamp('2024-01-01T00:00:00Z') + duration('36h') - timestamp('2024-01-01T00:00:00Z')
timestamp('2024-02-29T12:30:45Z').getFullYear()
timestamp('2024-02-29T12:30:45Z').getMonth()
timestamp('2024-02-29T12:30:45Z').getDate()
timestamp('2024-02-29T12:30:45Z').getDayOfMonth()
timestamp('2024-03-03T12:30:45Z').getDayOfWeek()
timestamp('2024-03-03T12:30:45Z').getDayOfYear()
timestamp('2024-02-29T23:30:45Z').getHours('+02:00')
timestamp('2024-02-29T23:30:45Z').getHours('America/New_York')
timestamp('2024-02-29T23:30:45.123Z').getMilliseconds()
timestamp('9999-12-31T23:59:59Z') + duration('1s')
duration('1h30m1.5s')
duration('-1.5h')
duration('1')
duration('90m').getHours() + duration('90m').getMinutes() + duration('90s').getSeconds()
duration('1s') < duration('2s')
string(duration('90m'))
string(timestamp('2024-02-29T12:30:45Z'))
int(timestamp('2024-02-29T12:30:45Z'))
'hello'.startsWith('he') && 'hello'.endsWith('lo') && 'hello'.contains('ell')
'hello'.matches('^h.*o$') && !'hello'.matches('x+')
'hello'.matches('(h')
matches('a1b', '[[:digit:]]')
'tacocat'.charAt(3) + 'x'.charAt(1)
'x'.charAt(2)
'hello mellow'.indexOf('ello') + 'hello mellow'.indexOf('ello', 2)
'hello mellow'.lastIndexOf('ello') + 'hello mellow'.lastIndexOf('ello', 6)
'hello'.indexOf('z')
'HeÉ'.lowerAscii() + 'heé'.upperAscii()
'hello hello'.replace('he', 'we') + 'hello hello'.replace('he', 'we', 1)
'abc'.replace('', '_')
'hello'.replace('l', 'L', 0)
'a,b,c'.split(',')
'a,b,c'.split(',', 2)
'abc'.split('')
'a,b'.split(',', 0)
['a', 'b'].join() + ['a', 'b'].join('-')
'tacocat'.substring(4) + 'tacocat'.substring(0, 4)
'tacocat'.substring(5, 2)
'  \\t trim\\u00a0 '.trim()
'gums'.reverse()
strings.quote('a"b\\n')
'%s %d %s %s'.format(['a', 1, true, [1, 'b']])
'%x %X %o %b %%'.format([255, 255, 8, 5])
'%.2f|%e'.format([3.14159, 1234.5])
'%d'.format(['x'])
'%d'.format([])
math.greatest(1, 2, 3) + math.least(4, 5)
math.greatest([1, 5, 3])
math.greatest(1, 2.5)
math.least('a', 'b')
math.ceil(1.2) + math.floor(-1.2) + math.round(1.5) + math.trunc(-1.7)
math.round(-1.5)
math.abs(-5) + math.sign(-3)
math.abs(-9223372036854775808)
math.isNaN(0.0 / 0.0) && math.isInf(1.0 / 0.0) && math.isFinite(1.0)
math.bitAnd(12, 10) + math.bitOr(12, 10) + math.bitXor(12, 10) + math.bitNot(5)
math.bitShiftLeft(1, 3) + math.bitShiftRight(-8, 1)
math.bitShiftLeft(1, -3)
math.sqrt(81)
base64.encode(b'hello')
base64.decode('aGVsbG8=')
base64.decode('aGVsbG8')
a.nil == null
a.nil.x
a.texts.map(t, t + '!').exists(t, t == 'a!')
a.map(k, k).size() > 3
unknown
size(1)
'a'.nope()
1 +
[1, 2
a.l.map(1, 2)
has(a)
if
a.
1..2
'unterminated
{'a' 1}
a.l[
((1))
// a comment
1 // with a comment
--1
!!true
- -1
1 < 2 == true
1 == 1 ? 'y' : 'n'
true ? false ? 1 : 2 : 3
[1, 2,]
{'a': 1,}
""".strip("\n")
CASES = [
    line
    for line in EXPRESSIONS.replace("multi\nline", "multi\0line").split("\n")
    if not line.startswith("//")
]


@pytest.mark.parametrize("expression", [case.replace("\0", "\n") for case in CASES])
def test_an_expression_gives_what_the_oracle_gives(expression: str) -> None:
    assert ours(expression, DATA) == theirs(expression, DATA)


def _join(*parts: str) -> st.SearchStrategy[str]:
    return st.sampled_from(parts)


NUMBERS = st.recursive(
    _join("0", "1", "2", "-3", "a.n", "a.z", "a.m.x", "a.m.nope", "a.l[0]", "9223372036854775807")
    | _join("size(a.l)", "a.?n.orValue(4)", "a.?q.orValue(5)", "a.s.size()", "int(a.d)", "a.d"),
    lambda inner: (
        st.builds("({} {} {})".format, inner, _join("+", "-", "*", "/", "%"), inner)
        | st.builds("({} > 1 ? {} : {})".format, inner, inner, inner)
        | st.builds("cel.bind(v, {}, v + v)".format, inner)
        | st.builds("[{}, {}].map(x, x + 1)[0]".format, inner, inner)
        | st.builds("math.greatest({}, {})".format, inner, inner)
        | st.builds("a.l[{}]".format, inner)
    ),
    max_leaves=5,
)
TEXTS = st.recursive(
    _join("''", "'a'", "'héllo'", "a.s", "a.e", "a.texts[0]", "a.nope"),
    lambda inner: (
        st.builds("({} + {})".format, inner, inner)
        | st.builds("{}.{}()".format, inner, _join("upperAscii", "lowerAscii", "trim", "reverse"))
        | st.builds("{}.replace({}, {})".format, inner, inner, inner)
        | st.builds("{}.substring({})".format, inner, NUMBERS)
        | st.builds("{}.charAt({})".format, inner, _join("0", "1", "9"))
        | st.builds("{}.split({}).join('|')".format, inner, inner)
    ),
    max_leaves=4,
)
BOOLEANS = st.recursive(
    st.builds("{} {} {}".format, NUMBERS, _join("<", "<=", "==", "!=", ">", ">="), NUMBERS)
    | st.builds("{} {} {}".format, TEXTS, _join("<", "==", "!=", ">="), TEXTS)
    | st.builds("{}.{}({})".format, TEXTS, _join("startsWith", "endsWith", "contains"), TEXTS)
    | st.builds("{} in a.l".format, NUMBERS)
    | _join("a.t", "true", "false", "has(a.n)", "has(a.nope)", "has(a.nope.x)", "a.s", "a.nil"),
    lambda inner: (
        st.builds("({} && {})".format, inner, inner)
        | st.builds("({} || {})".format, inner, inner)
        | st.builds("!({})".format, inner)
        | st.builds("a.l.{}(x, {} || x > 1)".format, _join("all", "exists", "exists_one"), inner)
        | st.builds("a.l.filter(x, {}).size() > 0".format, inner)
    ),
    max_leaves=4,
)


@settings(deadline=None, max_examples=600, derandomize=True)
@given(NUMBERS | TEXTS | BOOLEANS)
def test_any_expression_gives_what_the_oracle_gives(expression: str) -> None:
    assert ours(expression, DATA) == theirs(expression, DATA)
