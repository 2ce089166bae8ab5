"""Makes the providers of a configuration, and knows those whose keys a plugin keeps."""

import logging
from collections.abc import Callable

from minikube_py.server.encryption.configuration import KeyService, Sealer
from minikube_py.server.encryption.keyring import Keyring, local
from minikube_py.server.encryption.kms import KeyServiceProvider, Plugin, Socket
from minikube_py.server.encryption.providers import Provider, SealError

log = logging.getLogger(__name__)


class Services:
    """The key services that a keyring uses."""

    def __init__(self, plugin: Callable[[KeyService], Plugin] = Socket) -> None:
        self._plugin = plugin
        self._providers: dict[KeyService, KeyServiceProvider] = {}
        self.keyring = Keyring(self.make)

    def make(self, sealer: Sealer) -> Provider:
        """Return the provider of a sealer."""
        service = sealer.service
        if service is None:
            return local(sealer)
        if service not in self._providers:
            self._providers[service] = KeyServiceProvider(service.name, self._plugin(service))
        return self._providers[service]

    def used(self) -> list[KeyServiceProvider]:
        """Return the services of the configuration in force."""
        rules = self.keyring.configuration.rules
        wanted = {s.service for rule in rules for s in rule.sealers if s.service is not None}
        return sorted((self._providers[s] for s in wanted), key=lambda found: found.name)

    async def refresh(self) -> None:
        """Ask every service in use for its state; one that fails keeps the key it had."""
        for provider in self.used():
            try:
                await provider.refresh()
            except SealError as error:
                log.warning("key service cannot be used name=%s error=%s", provider.name, error)

    def key_ids(self) -> str:
        """Return which keys the services use, in one text."""
        return " ".join(f"{provider.name}={provider.key_id}" for provider in self.used())

    def problem(self) -> str | None:
        """Return why values cannot be sealed or opened, None where they can."""
        problems = (provider.problem for provider in self.used())
        return next((problem for problem in problems if problem is not None), None)
