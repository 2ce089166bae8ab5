"""EncryptionConfiguration: which resources are sealed by whom.

The format, the rules and their words are those of kube-apiserver's
`--encryption-provider-config` (apiserver.config.k8s.io/v1). The first rule that covers a resource
decides, the first of its providers seals, all of them open.
"""

import base64
import binascii
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from minikube_py.api import times
from minikube_py.api import yaml as kubernetes_yaml
from minikube_py.api.fields import OMIT, Field, FieldError
from minikube_py.server.encryption.providers import AES_KEY_BYTES

API_VERSION, KIND = "apiserver.config.k8s.io/v1", "EncryptionConfiguration"
AES = ("aesgcm", "aescbc")
PROVIDERS = (*AES, "identity", "kms")
KMS_TIMEOUT_SECONDS = 3.0
KEY_BYTES = 32
EVENTS = "events.events.k8s.io"


@dataclass(frozen=True)
class Key:
    """One key of an AES provider."""

    name: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class KeyService:
    """A plugin that keeps the keys (KMS v2)."""

    name: str
    endpoint: str
    timeout: float = KMS_TIMEOUT_SECONDS
    """Seconds for one call."""


@dataclass(frozen=True)
class Sealer:
    """One provider of a rule with one key: `scheme` is identity, aesgcm, aescbc or kms."""

    scheme: str
    key: Key | None = None
    service: KeyService | None = None

    @property
    def title(self) -> str:
        """How a user names it."""
        named = self.key or self.service
        return f"{self.scheme} {named.name}" if named is not None else self.scheme


@dataclass(frozen=True)
class Rule:
    """Resources such as `secrets`, `*.apps` or `*.*`, and who seals them."""

    resources: tuple[str, ...]
    sealers: tuple[Sealer, ...]
    """The first seals, each opens what it sealed."""

    def covers(self, group_resource: str) -> bool:
        """Tell whether the rule is for that resource (`deployments.apps`)."""
        group = group_resource.partition(".")[2]
        return bool({group_resource, f"*.{group}", "*.*"} & set(self.resources))


@dataclass(frozen=True)
class Configuration:
    """All rules, in order."""

    rules: tuple[Rule, ...]

    def rule_of(self, group_resource: str) -> Rule | None:
        """Return the rule that decides about a resource, None where it is stored as it is."""
        return next((rule for rule in self.rules if rule.covers(group_resource)), None)


def read(data: bytes) -> Configuration:
    """Return what a file says.

    Raises:
        ValueError: with every mistake in one line; never with a key.

    """
    try:
        document = kubernetes_yaml.load(data)
    except (ValueError, yaml.YAMLError) as error:
        problem = getattr(error, "problem", None) or "it is no YAML"
        raise ValueError(f"cannot be parsed: {problem}") from None
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise ValueError(f"is no {KIND} of {API_VERSION}")
    if document.get("apiVersion") != API_VERSION:
        raise ValueError(f"has apiVersion {document.get('apiVersion')!r}, not {API_VERSION}")
    try:
        errors = list(_problems(document))
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError("has a field of the wrong type") from error
    if errors:
        raise ValueError("; ".join(str(error) for error in errors))
    return Configuration(tuple(_rule(given) for given in document["resources"]))


def write(configuration: Configuration) -> bytes:
    """Return the file that says this."""
    return kubernetes_yaml.dump(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "resources": [
                {"resources": [*rule.resources], "providers": [_shown(s) for s in rule.sealers]}
                for rule in configuration.rules
            ],
        }
    )


def new_key(taken: Sequence[str] = ()) -> Key:
    """Return a fresh key of 256 bits, named `key1` or the next that is free."""
    number = next(n for n in range(1, len(taken) + 2) if f"key{n}" not in taken)
    return Key(f"key{number}", secrets.token_bytes(KEY_BYTES))


def with_primary(rule: Rule, sealer: Sealer) -> Rule:
    """Return the rule in which that sealer seals and all others still open."""
    return replace(rule, sealers=(sealer, *(s for s in rule.sealers if s != sealer)))


def _rule(given: Mapping[str, Any]) -> Rule:
    sealers = [sealer for provider in given["providers"] for sealer in _sealers(provider)]
    return Rule(tuple(given["resources"]), tuple(sealers))


def _sealers(provider: Mapping[str, Any]) -> Iterator[Sealer]:
    ((scheme, given),) = provider.items()
    if scheme == "identity":
        yield Sealer(scheme)
    elif scheme == "kms":
        timeout = times.parse_duration(given.get("timeout") or f"{KMS_TIMEOUT_SECONDS:g}s")
        yield Sealer(scheme, service=KeyService(given["name"], given["endpoint"], timeout))
    else:
        for key in given["keys"]:
            yield Sealer(scheme, Key(key["name"], base64.b64decode(key["secret"])))


def _shown(sealer: Sealer) -> dict[str, Any]:
    if sealer.key is not None:
        secret = base64.b64encode(sealer.key.secret).decode()
        return {sealer.scheme: {"keys": [{"name": sealer.key.name, "secret": secret}]}}
    if sealer.service is not None:
        named = {"name": sealer.service.name, "endpoint": sealer.service.endpoint}
        return {"kms": {"apiVersion": "v2", **named, "timeout": f"{sealer.service.timeout:g}s"}}
    return {sealer.scheme: {}}


# Rules: validation of apiserver/pkg/apis/apiserver/validation


def _problems(document: Mapping[str, Any]) -> Iterator[FieldError]:
    root = Field("resources")
    rules = document.get("resources") or []
    if not rules:
        yield root.required(f"at least one {root} is required")
    services: set[str] = set()
    for number, rule in enumerate(rules):
        yield from _resource_problems(root[number] / "resources", rule.get("resources") or [])
        path = root[number] / "providers"
        if not rule.get("providers"):
            yield path.required(f"at least one {path} is required")
        for index, provider in enumerate(rule.get("providers") or []):
            yield from _provider_problems(path[index], provider, services)


def _resource_problems(path: Field, resources: Sequence[str]) -> Iterator[FieldError]:
    if not resources:
        yield path.required(f"at least one {path} is required")
    for index, name in enumerate(resources):
        if name != name.lower():
            yield path[index].invalid(name, "resource name should not contain capital letters")
        elif name == "*":
            yield path[index].invalid(
                name,
                "use '*.' to encrypt all the resources from core API group or *.* to encrypt all "
                "resources",
            )
        elif name in (EVENTS, "*.events.k8s.io"):
            yield path[index].invalid(
                name,
                "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use "
                "'events' instead in the config file",
            )
        elif name in resources[:index]:
            yield path[index].invalid(name, "the same resource cannot be specified multiple times")
        elif _is_masked(name, resources):
            yield path[index].invalid(
                name,
                "using overlapping resources such as 'secrets' and '*.' in the same resource list "
                "is not allowed as they will be masked",
            )


def _is_masked(name: str, resources: Sequence[str]) -> bool:
    if name == "*.*":
        return False
    plural, _, group = name.partition(".")
    return "*.*" in resources or (plural != "*" and f"*.{group}" in resources)


def _provider_problems(
    path: Field, provider: Mapping[str, Any], services: set[str]
) -> Iterator[FieldError]:
    if len(provider) != 1:
        if not provider:
            yield path.required(f"at least one {path} is required")
        else:
            yield path.invalid(
                OMIT,
                "more than one provider specified in a single element, should split into "
                "different list elements",
            )
        return
    ((scheme, given),) = provider.items()
    if scheme == "secretbox":
        yield (path / scheme).forbidden("secretbox is not supported here; use aesgcm or kms")
    elif scheme not in PROVIDERS:
        yield path.unsupported(scheme, PROVIDERS)
    elif scheme in AES:
        yield from _key_problems(path / scheme / "keys", (given or {}).get("keys") or [])
    elif scheme == "kms":
        yield from _service_problems(path / scheme, given or {}, services)


def _key_problems(path: Field, keys: Sequence[Mapping[str, Any]]) -> Iterator[FieldError]:
    if not keys:
        yield path.required(f"at least one {path} is required")
    for index, key in enumerate(keys):
        if not key.get("name"):
            yield (path[index] / "name").required("name is a mandatory field for a key")
        if not key.get("secret"):
            yield (path[index] / "secret").required("secret is a mandatory field for a key")
            continue
        try:
            size = len(base64.b64decode(key["secret"], validate=True))
        except (binascii.Error, ValueError):
            yield (path[index] / "secret").invalid("REDACTED", "secrets must be base64 encoded")
            continue
        if size not in AES_KEY_BYTES:
            wanted = " ".join(str(length) for length in AES_KEY_BYTES)
            yield (path[index] / "secret").invalid(
                "REDACTED",
                f"secret is not of the expected length, got {size}, expected one of [{wanted}]",
            )


def _service_problems(
    path: Field, given: Mapping[str, Any], services: set[str]
) -> Iterator[FieldError]:
    name, endpoint = given.get("name") or "", given.get("endpoint") or ""
    version = given.get("apiVersion") or "v1"
    if version != "v2":
        yield (path / "apiVersion").invalid(
            version, "unsupported apiVersion for KMS provider, only v2 is supported"
        )
    if not name:
        yield (path / "name").required("name is a mandatory field for a provider")
    elif ":" in name:
        yield (path / "name").invalid(
            name, f"invalid KMS provider name {name}, must not contain ':'"
        )
    elif name in services:
        yield (path / "name").invalid(
            name, f"duplicate KMS provider name {name}, names must be unique"
        )
    services.add(name)
    yield from _endpoint_problems(path / "endpoint", endpoint)
    yield from _timeout_problems(path / "timeout", given.get("timeout"))


def _endpoint_problems(path: Field, endpoint: str) -> Iterator[FieldError]:
    if not endpoint:
        yield path.invalid("", "endpoint is a mandatory field for a provider")
    elif not endpoint.startswith("unix://"):
        scheme = endpoint.partition("://")[0]
        yield path.invalid(
            endpoint, f'unsupported scheme "{scheme}" for KMS provider, only unix is supported'
        )


def _timeout_problems(path: Field, timeout: Any) -> Iterator[FieldError]:
    if timeout is None:
        return
    parse: Callable[[str], float] = times.parse_duration
    try:
        positive = parse(timeout) > 0
    except ValueError:
        positive = False
    if not positive:
        yield path.invalid(timeout, "timeout should be a positive value")
