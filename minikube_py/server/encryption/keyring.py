"""Who seals the value of a key, and who opens what was sealed.

Sealing follows the configuration in force. Opening follows the mark of the value and knows every
provider that this process has met: history that was sealed before a rotation stays readable.
"""

from collections.abc import Callable, Mapping

from minikube_py.server.encryption.configuration import Configuration, Rule, Sealer
from minikube_py.server.encryption.providers import (
    MARK,
    AesCbc,
    AesGcm,
    ForeignError,
    Identity,
    Provider,
)

GROUPS_WITHOUT_DOT = frozenset({"apps", "autoscaling", "batch", "policy"})
"""API groups from before groups were domains; in a key they stand where plurals do, too."""
RETIRED_MAX = 64
"""Providers kept for opening only; the oldest goes first."""
MARK_PARTS = 5
"""`k8s`, `enc`, scheme, version and name; then the provider's bytes."""


def group_resource_of(key: str) -> str:
    """Return `deployments.apps` of `/registry/apps/deployments/ns/name`."""
    first, _, rest = key.removeprefix("/registry/").partition("/")
    if "." in first or first in GROUPS_WITHOUT_DOT:
        return f"{rest.partition('/')[0]}.{first}"
    return first


class Keyring:
    """The providers of the configuration in force."""

    def __init__(self, make: Callable[[Sealer], Provider]) -> None:
        self._make = make
        self._configuration = Configuration(())
        self._providers: dict[Sealer, Provider] = {}
        self._openers: dict[bytes, Provider] = {}
        self._sealers: dict[str, Provider] = {}
        self.identity: Provider = Identity()

    @property
    def configuration(self) -> Configuration:
        """The configuration in force."""
        return self._configuration

    def use(self, configuration: Configuration) -> None:
        """Seal and open by this configuration from now on; what was known stays openable."""
        sealers = [sealer for rule in configuration.rules for sealer in rule.sealers]
        self._providers = {
            sealer: self._providers.get(sealer) or self._make(sealer) for sealer in sealers
        }
        for provider in self._providers.values():
            self._openers.pop(provider.mark, None)
            self._openers[provider.mark] = provider
        while len(self._openers) > RETIRED_MAX + len(self._providers):
            del self._openers[next(iter(self._openers))]
        self._configuration = configuration
        self._sealers = {}

    def sealer_of(self, key: str) -> Provider:
        """Return who seals the value of a key."""
        resource = group_resource_of(key)
        provider = self._sealers.get(resource)
        if provider is None:
            rule = self._configuration.rule_of(resource)
            provider = self._providers[rule.sealers[0]] if rule is not None else self.identity
            self._sealers[resource] = provider
        return provider

    async def open(self, key: str, stored: bytes) -> bytes:
        """Return the plain value.

        Raises:
            ForeignError: nobody here sealed it, or it is not as it was sealed.
            SealError: it cannot be opened now.

        """
        if not stored.startswith(MARK):
            return stored
        mark = b":".join(stored.split(b":", MARK_PARTS)[:MARK_PARTS]) + b":"
        provider = self._openers.get(mark)
        if provider is None:
            raise ForeignError(f"no provider of the configuration opens {_readable(mark)}")
        return await provider.open(stored, key.encode())


def _readable(mark: bytes) -> str:
    return mark.rstrip(b":").decode("ascii", "replace")


def local(sealer: Sealer) -> Provider:
    """Return the provider of a sealer whose key is in the configuration."""
    if sealer.key is None:
        return Identity()
    return _LOCAL[sealer.scheme](sealer.key.name, sealer.key.secret)


_LOCAL: Mapping[str, Callable[[str, bytes], Provider]] = {"aesgcm": AesGcm, "aescbc": AesCbc}


def primary(rule: Rule) -> Rule:
    """Return the rule without those who only open."""
    return Rule(rule.resources, rule.sealers[:1])
