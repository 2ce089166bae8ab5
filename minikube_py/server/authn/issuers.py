"""The issuers of an AuthenticationConfiguration, as the file has them right now."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there
from minikube_py.lib.inotify import follow
from minikube_py.server.authn import configuration
from minikube_py.server.authn.chain import Verified
from minikube_py.server.authn.configuration import Configuration
from minikube_py.server.authn.oidc import OidcTokens

log = logging.getLogger(__name__)


class Issuers:
    """Knows the tokens of all issuers of a file, which is followed while the server runs."""

    def __init__(
        self,
        path: Path,
        own: Sequence[str],
        clock: Clock,
        tokens: Callable[..., OidcTokens] = OidcTokens,
    ) -> None:
        """Read the file; `own` is what this API server calls itself in tokens.

        Raises:
            StartError: the file is absent or cannot be used.

        """
        self._path = path
        self._own = tuple(own)
        self._clock = clock
        self._tokens = tokens
        self._seen = b""
        self._methods: tuple[OidcTokens, ...] = ()
        self.configuration = Configuration()
        self.load()

    def load(self) -> None:
        """Use what the file says now; every issuer is asked for its keys again.

        Raises:
            StartError: the file is absent or cannot be used.

        """
        data = read_if_there(self._path)
        if data is None:
            raise StartError(f"there is no {self._path}; mend --authentication-config")
        if data == self._seen:
            return
        try:
            found = configuration.read(data, self._own)
        except ValueError as error:
            raise StartError(f"{self._path} {error}; mend it") from error
        self._methods = tuple(
            self._tokens(issuer, self._clock, own_audiences=self._own) for issuer in found.issuers
        )
        self._seen, self.configuration = data, found

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """Return the user of a token, None where no issuer is its own."""
        for method in self._methods:
            verified = await method.verify(token, audiences)
            if verified is not None:
                return verified
        return None

    async def follow(self) -> None:
        """Follow the file for as long as the server runs."""
        await follow((self._path.parent,), self._look)

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(self.load)
        except StartError as error:
            log.warning("changed authentication config not used error=%s", error)
