"""AuthenticationConfiguration: issuers of tokens that are trusted, and who may come without one.

The format and its rules are those of kube-apiserver's `--authentication-config`
(apiserver.config.k8s.io/v1, apiserver/pkg/apis/apiserver/validation).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from minikube_py.api import cel
from minikube_py.api import yaml as kubernetes_yaml
from minikube_py.api.cel import types
from minikube_py.server.authn.configuration_rules import CLAIMS, USER, problems

API_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
KIND = "AuthenticationConfiguration"


@dataclass(frozen=True)
class Mapped:
    """Where a part of the user comes from: a claim with a prefix, or an expression."""

    claim: str = ""
    prefix: str = ""
    expression: cel.Program | None = None

    def __bool__(self) -> bool:
        """Tell whether it comes from anywhere."""
        return bool(self.claim) or self.expression is not None


@dataclass(frozen=True)
class ClaimRule:
    """What a token must say: a claim of this value, or an expression that holds."""

    claim: str = ""
    value: str = ""
    expression: cel.Program | None = None
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class JwtIssuer:
    """One issuer of tokens."""

    url: str
    discovery_url: str = ""
    """Where to ask for the keys; "" for the well-known place below `url`."""
    audiences: tuple[str, ...]
    certificate_authority: str = ""
    """PEM of whom to trust; "" for the system's authorities."""
    claim_rules: tuple[ClaimRule, ...] = ()
    user_rules: tuple[ClaimRule, ...] = ()
    username: Mapped
    groups: Mapped = Mapped()
    uid: Mapped = Mapped()
    extra: Mapping[str, cel.Program]


@dataclass(frozen=True)
class Configuration:
    """What a file says."""

    issuers: tuple[JwtIssuer, ...] = ()
    anonymous: bool | None = None
    """Whether requests without credentials are let in; None where the file does not say."""
    anonymous_paths: tuple[str, ...] = ()
    """The paths for which they are; all where there are none."""


def read(data: bytes, own_issuers: Sequence[str] = ()) -> Configuration:
    """Return what a file says; `own_issuers` are taken.

    Raises:
        ValueError: with every mistake in one line.

    """
    try:
        document = kubernetes_yaml.load(data)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"cannot be parsed: {error}") from None
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise ValueError(f"is no {KIND} of {API_VERSIONS[0]}")
    if document.get("apiVersion") not in API_VERSIONS:
        raise ValueError(f"has apiVersion {document.get('apiVersion')!r}, not {API_VERSIONS[0]}")
    try:
        errors = list(problems(document, own_issuers))
        if not errors:
            return _configuration(document)
    except (TypeError, AttributeError) as error:
        raise ValueError("has a field of the wrong type") from error
    raise ValueError("; ".join(str(error) for error in errors))


def _configuration(document: Mapping[str, Any]) -> Configuration:
    anonymous = document.get("anonymous")
    conditions = (anonymous or {}).get("conditions") or ()
    return Configuration(
        tuple(_issuer(given) for given in document.get("jwt") or ()),
        None if anonymous is None else bool(anonymous.get("enabled")),
        tuple(condition["path"] for condition in conditions),
    )


def _issuer(given: Mapping[str, Any]) -> JwtIssuer:
    issuer, mappings = given["issuer"], given["claimMappings"]
    return JwtIssuer(
        url=issuer["url"],
        discovery_url=issuer.get("discoveryURL") or "",
        audiences=tuple(issuer["audiences"]),
        certificate_authority=issuer.get("certificateAuthority") or "",
        claim_rules=tuple(
            ClaimRule(
                rule.get("claim") or "",
                rule.get("requiredValue") or "",
                _program(rule.get("expression"), CLAIMS),
                rule.get("message") or "",
            )
            for rule in given.get("claimValidationRules") or ()
        ),
        user_rules=tuple(
            ClaimRule(
                expression=_program(rule["expression"], USER), message=rule.get("message") or ""
            )
            for rule in given.get("userValidationRules") or ()
        ),
        username=_mapped(mappings["username"]),
        groups=_mapped(mappings.get("groups") or {}),
        uid=_mapped(mappings.get("uid") or {}),
        extra={
            extra["key"]: cel.compile(extra["valueExpression"], CLAIMS)
            for extra in mappings.get("extra") or ()
        },
    )


def _mapped(given: Mapping[str, Any]) -> Mapped:
    expression = _program(given.get("expression"), CLAIMS)
    return Mapped(given.get("claim") or "", given.get("prefix") or "", expression)


def _program(text: str | None, variables: Mapping[str, types.Type]) -> cel.Program | None:
    return cel.compile(text, variables) if text else None
