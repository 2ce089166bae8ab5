"""From what a token claims to a user, by the rules that its issuer's configuration has."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api import cel
from minikube_py.api.cel import CelCostError, CelError, CelEvaluationError
from minikube_py.server.attributes import User
from minikube_py.server.authn.chain import TokenError
from minikube_py.server.authn.configuration import ClaimRule, JwtIssuer, Mapped

Claims = Mapping[str, Any]


def user_of(issuer: JwtIssuer, claims: Claims) -> User:
    """Return whom the claims are of.

    Raises:
        TokenError: a rule does not hold, or what makes the user is not there.

    """
    for rule in issuer.claim_rules:
        _check_claim(rule, claims)
    user = User(
        _username(issuer.username, claims),
        _groups(issuer.groups, claims),
        _uid(issuer.uid, claims),
        {key: values for key, values in _extra(issuer, claims) if values},
    )
    for rule in issuer.user_rules:
        _check_user(rule, user)
    return user


def _check_claim(rule: ClaimRule, claims: Claims) -> None:
    if rule.expression is not None:
        if _evaluate(rule.expression, claims=claims) is not True:
            why = rule.message or "validation expression failed"
            raise TokenError(f"oidc: error evaluating claim validation expression: {why}")
        return
    if rule.claim not in claims:
        raise TokenError(f"oidc: required claim {rule.claim} not present in ID token")
    value = claims[rule.claim]
    if value != rule.value:
        raise TokenError(
            f"oidc: required claim {rule.claim} value does not match. Got = {value}, "
            f"want = {rule.value}"
        )


def _check_user(rule: ClaimRule, user: User) -> None:
    shown = {
        "username": user.name,
        "uid": user.uid,
        "groups": list(user.groups),
        "extra": {key: list(values) for key, values in user.extra.items()},
    }
    if rule.expression is not None and _evaluate(rule.expression, user=shown) is not True:
        why = rule.message or "validation expression failed"
        raise TokenError(f"oidc: error evaluating user info validation rule: {why}")


def _username(mapped: Mapped, claims: Claims) -> str:
    if mapped.expression is not None:
        name = _evaluate(mapped.expression, claims=claims)
    else:
        name = claims.get(mapped.claim)
        if mapped.claim == "email" and claims.get("email_verified", True) is not True:
            raise TokenError("oidc: email not verified")
    if not isinstance(name, str):
        raise TokenError(f"oidc: parse username claims {mapped.claim!r}: it is no string")
    if not name:
        raise TokenError("oidc: the username of the token is empty")
    return mapped.prefix + name


def _groups(mapped: Mapped, claims: Claims) -> tuple[str, ...]:
    if not mapped:
        return ()
    if mapped.expression is not None:
        found = _evaluate(mapped.expression, claims=claims)
    else:
        found = claims.get(mapped.claim)
    return tuple(mapped.prefix + name for name in _strings("groups", found) if name)


def _uid(mapped: Mapped, claims: Claims) -> str:
    if not mapped:
        return ""
    if mapped.expression is not None:
        found = _evaluate(mapped.expression, claims=claims)
    else:
        found = claims.get(mapped.claim)
    if not isinstance(found, str):
        raise TokenError("oidc: the uid of the token is no string")
    return found


def _extra(issuer: JwtIssuer, claims: Claims) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (key, tuple(text for text in _strings(key, _evaluate(program, claims=claims)) if text))
        for key, program in issuer.extra.items()
    ]


def _strings(what: str, value: Any) -> list[str]:
    """Return a value as a list of texts: one, many or none."""
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    raise TokenError(f"oidc: {what} of the token are no list of strings")


def _evaluate(program: cel.Program, **variables: Any) -> Any:
    try:
        return program.evaluate(variables)
    except (CelError, CelEvaluationError, CelCostError) as error:
        raise TokenError(f"oidc: error evaluating expression: {error}") from error
