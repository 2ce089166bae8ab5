"""What may stand in an AuthenticationConfiguration, in upstream's words.

Source: apiserver/pkg/apis/apiserver/validation.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from minikube_py.api import cel, names
from minikube_py.api.cel import CelError, types
from minikube_py.api.fields import OMIT, Field, FieldError

ISSUERS_MAX = 64
CLAIMS, USER = {"claims": types.DYN}, {"user": types.DYN}
"""The variables of expressions over a token and over the user that it makes."""
RESERVED = ("k8s.io", "kubernetes.io")


def problems(document: Mapping[str, Any], own_issuers: Sequence[str]) -> Iterator[FieldError]:
    """Yield every mistake."""
    root, issuers = Field("jwt"), document.get("jwt") or ()
    if len(issuers) > ISSUERS_MAX:
        yield root.too_many(len(issuers), ISSUERS_MAX)
    taken: list[str] = []
    for number, given in enumerate(issuers):
        path = root[number]
        yield from _issuer_problems(path / "issuer", given.get("issuer") or {}, taken, own_issuers)
        yield from _rule_problems(path, given)
        yield from _mapping_problems(path / "claimMappings", given.get("claimMappings") or {})
        taken.append((given.get("issuer") or {}).get("url") or "")
    yield from _anonymous_problems(Field("anonymous"), document.get("anonymous") or {})


def _issuer_problems(
    path: Field, issuer: Mapping[str, Any], taken: Sequence[str], own: Sequence[str]
) -> Iterator[FieldError]:
    url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
    yield from _url_problems(path / "url", url)
    if url and url in taken:
        yield (path / "url").duplicate(url)
    if url in own:
        listed = " ".join(own)
        yield (path / "url").invalid(
            url, f"URL must not overlap with disallowed issuers: [{listed}]"
        )
    if discovery:
        yield from _url_problems(path / "discoveryURL", discovery)
        if discovery.rstrip("/") == url.rstrip("/"):
            yield (path / "discoveryURL").invalid(
                discovery, "discoveryURL must be different from URL"
            )
    yield from _audience_problems(path, issuer)
    bundle = issuer.get("certificateAuthority")
    if bundle and not _is_bundle(bundle):
        yield (path / "certificateAuthority").invalid(
            "<omitted>", "data does not contain any valid RSA or ECDSA certificates"
        )


def _url_problems(path: Field, url: str) -> Iterator[FieldError]:
    if not url:
        yield path.required("URL is required")
        return
    parts = urlsplit(url)
    for holds, text in (
        (parts.scheme != "https", "URL scheme must be https"),
        (bool(parts.username or parts.password), "URL must not contain a username or password"),
        (bool(parts.query), "URL must not contain a query"),
        (bool(parts.fragment), "URL must not contain a fragment"),
    ):
        if holds:
            yield path.invalid(url, text)


def _audience_problems(path: Field, issuer: Mapping[str, Any]) -> Iterator[FieldError]:
    audiences, policy = issuer.get("audiences") or (), issuer.get("audienceMatchPolicy") or ""
    field = path / "audiences"
    if not audiences:
        yield field.required(f"at least one {field} is required")
    for index, audience in enumerate(audiences):
        if not audience:
            yield field[index].required("audience can't be empty")
        elif audience in audiences[:index]:
            yield field[index].duplicate(audience)
    if len(audiences) > 1 and policy != "MatchAny":
        yield (path / "audienceMatchPolicy").invalid(
            policy, "audienceMatchPolicy must be MatchAny for multiple audiences"
        )
    elif policy not in ("", "MatchAny"):
        yield (path / "audienceMatchPolicy").invalid(
            policy, "audienceMatchPolicy must be empty or MatchAny for single audience"
        )


def _is_bundle(text: str) -> bool:
    try:
        return bool(x509.load_pem_x509_certificates(text.encode()))
    except ValueError:
        return False


def _rule_problems(path: Field, given: Mapping[str, Any]) -> Iterator[FieldError]:
    for index, rule in enumerate(given.get("claimValidationRules") or ()):
        yield from _claim_rule_problems((path / "claimValidationRules")[index], rule)
    for index, rule in enumerate(given.get("userValidationRules") or ()):
        field = (path / "userValidationRules")[index] / "expression"
        if not rule.get("expression"):
            yield field.required("expression is required")
        else:
            yield from _expression_problems(field, rule["expression"], USER)


def _claim_rule_problems(path: Field, rule: Mapping[str, Any]) -> Iterator[FieldError]:
    claim, expression = rule.get("claim"), rule.get("expression")
    if claim and expression:
        yield path.invalid(claim, "claim and expression can't both be set")
    elif not claim and not expression:
        yield path.required("claim or expression is required")
    elif expression:
        if rule.get("requiredValue"):
            yield (path / "requiredValue").invalid(
                rule["requiredValue"], "requiredValue can't be set when expression is set"
            )
        yield from _expression_problems(path / "expression", expression, CLAIMS)
    elif rule.get("message"):
        yield (path / "message").invalid(rule["message"], "message can't be set when claim is set")


def _mapping_problems(path: Field, given: Mapping[str, Any]) -> Iterator[FieldError]:
    username = given.get("username") or {}
    if not username.get("claim") and not username.get("expression"):
        yield (path / "username").required("claim or expression is required")
    for name in ("username", "groups", "uid"):
        mapped = given.get(name) or {}
        claim, expression, prefix = (mapped.get(n) for n in ("claim", "expression", "prefix"))
        if claim and expression:
            yield (path / name).invalid("", "claim and expression can't both be set")
        elif claim and prefix is None and name != "uid":
            yield (path / name / "prefix").required(
                "prefix is required when claim is set. It can be set to an empty string to disable "
                "prefixing"
            )
        elif expression and prefix is not None:
            yield (path / name / "prefix").invalid(
                prefix, "prefix can't be set when expression is set"
            )
        if expression:
            yield from _expression_problems(path / name / "expression", expression, CLAIMS)
    yield from _extra_problems(path / "extra", given.get("extra") or ())


def _extra_problems(path: Field, extras: Sequence[Mapping[str, Any]]) -> Iterator[FieldError]:
    for index, extra in enumerate(extras):
        key, field = extra.get("key") or "", path[index] / "key"
        domain, slash, rest = key.partition("/")
        if not key:
            yield field.required()
        elif key != key.lower():
            yield field.invalid(key, "must be lowercase")
        elif not slash or not rest or list(names.dns1123_subdomain(domain)):
            yield field.invalid(key, 'must be a domain-prefixed path (such as "acme.io/foo")')
        elif domain in RESERVED or domain.endswith(tuple(f".{name}" for name in RESERVED)):
            yield field.invalid(
                key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            )
        elif key in [other.get("key") for other in extras[:index]]:
            yield field.duplicate(key)
        if not extra.get("valueExpression"):
            yield (path[index] / "valueExpression").required("expression is required")
        else:
            yield from _expression_problems(
                path[index] / "valueExpression", extra["valueExpression"], CLAIMS
            )


def _expression_problems(
    path: Field, text: str, variables: Mapping[str, types.Type]
) -> Iterator[FieldError]:
    try:
        cel.compile(text, variables)
    except CelError as error:
        yield path.invalid(text, f"compilation failed: {error}")


def _anonymous_problems(path: Field, given: Mapping[str, Any]) -> Iterator[FieldError]:
    conditions = given.get("conditions") or ()
    if conditions and not given.get("enabled"):
        yield (path / "conditions").invalid(
            OMIT, "enabled should be set to true when conditions are defined"
        )
    for index, condition in enumerate(conditions):
        if not str(condition.get("path") or "").startswith("/"):
            yield (path / "conditions")[index].invalid(
                condition.get("path") or "", "a path must begin with /"
            )
