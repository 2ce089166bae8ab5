"""Kubernetes' libraries, which no oracle has: values and refusals from their documentation."""

from typing import Any

import pytest

from minikube_py.api import cel
from minikube_py.api.cel import libraries, types
from minikube_py.api.cel.libraries.authorizer import (
    AUTHORIZER,
    RESOURCE_CHECK,
    Ask,
    Decision,
    Question,
)
from minikube_py.api.cel.values import Opaque

TRUE = """
[1, 2, 2].isSorted() && !['b', 'a'].isSorted() && [].isSorted()
[1, 2, 3].sum() == 6 && [1.5, 2.5].sum() == 4.0 && [1u, 2u].sum() == 3u
[duration('1h'), duration('1m')].sum() == duration('61m')
[].sum() == 0
[3, 1, 2].min() == 1 && ['b', 'a'].max() == 'b' && [1.0, 2.0].max() == 2.0
[1, 2, 2, 3].indexOf(2) == 1 && [1, 2, 2, 3].lastIndexOf(2) == 2 && [1].indexOf(9) == -1
'abc 123 d45'.find('[0-9]+') == '123' && 'abc'.find('[0-9]+') == ''
'1 22 333'.findAll('[0-9]+') == ['1', '22', '333']
'1 22 333'.findAll('[0-9]+', 2) == ['1', '22'] && '1'.findAll('[0-9]', 0) == []
url('https://example.com:80/a%20b?k=v&k=w').getScheme() == 'https'
url('https://example.com:80/').getHost() == 'example.com:80'
url('https://[::1]:80/').getHostname() == '::1' && url('https://[::1]:80/').getPort() == '80'
url('https://example.com/a%20b').getEscapedPath() == '/a%20b'
url('https://e.com/?k=v&k=w').getQuery() == {'k': ['v', 'w']}
url('/path/x').getHost() == '' && url('/path/x').getEscapedPath() == '/path/x'
isURL('https://e.com') && isURL('/a/b') && !isURL('a/b') && !isURL('https://a:b/') && !isURL('')
quantity('200M').isInteger() && !quantity('1.5').isInteger() && isQuantity('1.3Gi')
!isQuantity('1.3GiB') && !isQuantity('')
quantity('50k') == quantity('50000') && quantity('50k').add(20) == quantity('50020')
quantity('50k').sub(quantity('20k')) == quantity('30k') && quantity('-1').sign() == -1
quantity('50k').asInteger() == 50000 && quantity('1500m').asApproximateFloat() == 1.5
quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1').isLessThan(quantity('2'))
quantity('200M').compareTo(quantity('0.2G')) == 0
ip('127.0.0.1').isLoopback() && ip('::').isUnspecified() && ip('10.0.0.1').family() == 4
isIP('2001:db8::1') && !isIP('127.0.0.01') && !isIP('::ffff:1.2.3.4') && !isIP('fe80::1%eth0')
ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')
ip('224.0.0.5').isLinkLocalMulticast() && ip('169.254.1.1').isLinkLocalUnicast()
ip('192.168.0.1').isGlobalUnicast() && !ip('255.255.255.255').isGlobalUnicast()
string(ip('2001:db8:0::1')) == '2001:db8::1' && ip('::1') == ip('0::1')
cidr('192.168.0.0/24').containsIP('192.168.0.9') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))
cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')
cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.1.2.3/8').ip() == ip('10.1.2.3')
cidr('10.0.0.0/8').prefixLength() == 8 && isCIDR('::/0') && !isCIDR('10.0.0.0/33')
string(cidr('10.0.0.0/8')) == '10.0.0.0/8'
!format.dns1123Label().validate('my-label').hasValue()
format.dns1123Label().validate('My_label').hasValue()
format.named('dns1123Label').hasValue() && !format.named('nope').hasValue()
format.uri().validate('not a uri').hasValue()
!format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()
!format.byte().validate('aGVsbG8=').hasValue() && format.byte().validate('a').hasValue()
!format.date().validate('2024-02-29').hasValue() && format.date().validate('2023-02-29').hasValue()
!format.datetime().validate('2024-02-29T00:00:00Z').hasValue()
!format.labelValue().validate('a.b').hasValue()
!format.dns1123LabelPrefix().validate('a-').hasValue()
semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-alpha').isLessThan(semver('1.0.0'))
semver('1.0.0-2').isLessThan(semver('1.0.0-11')) && semver('1.0.0-2').isLessThan(semver('1.0.0-a'))
semver('1.2.3').major() + semver('1.2.3').minor() + semver('1.2.3').patch() == 6
isSemver('1.0.0+build') && !isSemver('1.0') && !isSemver('v1.0.0') && !isSemver('01.0.0')
isSemver('v1.0', true) && semver('v01.2', true) == semver('1.2.0')
semver('1.2.3').compareTo(semver('1.2.3')) == 0
sets.contains([1, 2, 3], [2, 3]) && !sets.contains([1], [2]) && sets.contains([], [])
sets.equivalent([1, 1, 2], [2, 1]) && !sets.equivalent([1], [1, 2])
sets.intersects([1, 2], [2, 9]) && !sets.intersects([], [1])
base64.encode(b'hi') == 'aGk=' && base64.decode('aGk') == b'hi'
[[1, 2], [3]].all(i, l, size(l) + i > 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1)
[1, 2].transformList(i, v, i + v) == [1, 3] && [1, 2].transformList(i, v, i > 0, v) == [2]
{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 2) == {'b': 4}
{'a': 'x'}.transformMapEntry(k, v, {v: k}) == {'x': 'a'}
[1, 2].existsOne(i, v, v == 2) && [3, 3].distinct() == [3] && [[1], [2]].flatten() == [1, 2]
[1, 2, 3].slice(1, 3) == [2, 3] && lists.range(3) == [0, 1, 2] && [3, 1].sort() == [1, 3]
string(1.5) == '1.5' && string(1e21) == '1e+21'
string(100000.0) == '100000' && string(-0.00001) == '-1e-05'
"""


@pytest.mark.parametrize("expression", TRUE.strip().split("\n"))
def test_the_library_says_so(expression: str) -> None:
    assert cel.compile(expression, {}, functions=libraries.ALL).evaluate({}) is True


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a.x", "no such key: x"),
        ("a.l[5]", "index out of bounds: 5"),
        ("a.n + 's'", "no such overload"),
        ("a.n.startsWith('s')", "no such overload: startsWith(int, string)"),
        ("1 / (a.n - 1)", "division by zero"),
        ("1 % (a.n - 1)", "modulus by zero"),
        ("9223372036854775807 + a.n", "integer overflow"),
        ("b", "no such attribute(s): b"),
        ("[].min()", "min called on empty list"),
        ("quantity('x')", "quantities must match the regular expression"),
        ("optional.none().value()", "optional.none() dereference"),
        ("ip('1.2.3')", "parse error"),
        ("semver('1')", "semver parse error"),
        ("url('x')", "invalid URI for request"),
    ],
)
def test_an_evaluation_fails_in_upstreams_words(expression: str, words: str) -> None:
    program = cel.compile(expression, {"a": types.DYN, "b": types.INT})
    with pytest.raises(cel.CelEvaluationError) as raised:
        program.evaluate({"a": {"n": 1, "l": [1]}})
    assert words in str(raised.value)


def _binding(ask: Ask) -> dict[str, Any]:
    question = Question(ask, {"resource": "pods", "namespace": "here"})
    return {
        "authorizer": Opaque(AUTHORIZER, Question(ask)),
        "authorizer.requestResource": Opaque(RESOURCE_CHECK, question),
    }


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        (
            (
                "authorizer.group('apps').resource('deployments').subresource('scale').namespace('n')"
                ".name('x').check('get').allowed()"
            ),
            {
                "group": "apps",
                "resource": "deployments",
                "subresource": "scale",
                "namespace": "n",
                "name": "x",
                "verb": "get",
            },
        ),
        ("authorizer.path('/healthz').check('get').allowed()", {"path": "/healthz", "verb": "get"}),
        (
            "authorizer.serviceAccount('n', 's').path('/x').check('get').reason() == 'because'",
            {"serviceAccount": "n/s", "path": "/x", "verb": "get"},
        ),
        (
            "authorizer.requestResource.check('custom').errored() == false",
            {"resource": "pods", "namespace": "here", "verb": "custom"},
        ),
    ],
)
def test_the_authorizer_is_asked_what_the_expression_builds(
    expression: str, said: dict[str, str]
) -> None:
    asked: list[Any] = []

    def ask(question: Any) -> Decision:
        asked.append(dict(question))
        return Decision(allowed=True, reason="because")

    variables = {"authorizer": AUTHORIZER, "authorizer.requestResource": RESOURCE_CHECK}
    result = cel.compile(expression, variables).run(_binding(ask))
    assert result.value is True
    assert result.cost >= 350_000
    assert asked == [said]
