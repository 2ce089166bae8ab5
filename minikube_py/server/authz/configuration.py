"""AuthorizationConfiguration: who decides, in which order, and when a webhook is asked.

The format and its rules are those of kube-apiserver's `--authorization-config`
(apiserver.config.k8s.io/v1, apiserver/pkg/apis/apiserver/validation).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from minikube_py.api import cel, times
from minikube_py.api import yaml as kubernetes_yaml
from minikube_py.server.authz.configuration_rules import REQUEST, problems

API_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")
KIND = "AuthorizationConfiguration"
ALLOWED_SECONDS, OTHER_SECONDS = "5m", "30s"
"""How long a webhook's answers count where the file does not say."""


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """One webhook that is asked."""

    kubeconfig: str
    version: str
    """Of the SubjectAccessReview that it is sent."""
    timeout_seconds: float
    allowed_seconds: float
    other_seconds: float
    denies: bool
    """Whether a request is refused where the webhook does not answer."""
    conditions: tuple[cel.Program, ...] = ()
    """It is asked where all of them hold."""


@dataclass(frozen=True)
class Member:
    """One who decides."""

    type: str
    name: str
    webhook: Webhook | None = None


def read(data: bytes) -> tuple[Member, ...]:
    """Return what a file says.

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
        errors = list(problems(document))
        if not errors:
            return tuple(_member(given) for given in document["authorizers"])
    except (TypeError, AttributeError) as error:
        raise ValueError("has a field of the wrong type") from error
    raise ValueError("; ".join(str(error) for error in errors))


def _member(given: Mapping[str, Any]) -> Member:
    webhook = given.get("webhook")
    return Member(given["type"], given["name"], None if webhook is None else _webhook(webhook))


def _webhook(given: Mapping[str, Any]) -> Webhook:
    return Webhook(
        kubeconfig=given["connectionInfo"]["kubeConfigFile"],
        version=given["subjectAccessReviewVersion"],
        timeout_seconds=times.parse_duration(given["timeout"]),
        allowed_seconds=_lasts(given, "Authorized", ALLOWED_SECONDS),
        other_seconds=_lasts(given, "Unauthorized", OTHER_SECONDS),
        denies=given["failurePolicy"] == "Deny",
        conditions=tuple(
            cel.compile(condition["expression"], {"request": REQUEST})
            for condition in given.get("matchConditions") or ()
        ),
    )


def _lasts(given: Mapping[str, Any], which: str, default: str) -> float:
    if given.get(f"cache{which}Requests") is False:
        return 0.0
    return times.parse_duration(given.get(f"{which.lower()}TTL") or default)
