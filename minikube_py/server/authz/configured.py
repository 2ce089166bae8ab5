"""The authorisers of an AuthorizationConfiguration, as the file has them right now."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import read_if_there
from minikube_py.lib.inotify import follow
from minikube_py.server.attributes import Attributes, Authorizer, Decision
from minikube_py.server.authz import configuration
from minikube_py.server.authz.chain import AuthorizerChain
from minikube_py.server.authz.configuration import Member
from minikube_py.server.authz.modes import chain_of
from minikube_py.server.authz.webhook import Terms, WebhookAuthorizer
from minikube_py.server.webhook.client import Post
from minikube_py.server.webhook.kubeconfig import target_of_file

log = logging.getLogger(__name__)
FLAG = "--authorization-config"


class Configured:
    """Decides as a file says, which is followed while the server runs."""

    def __init__(
        self,
        path: Path,
        makers: Mapping[str, Callable[[], Authorizer]],
        post: Post,
        clock: Clock,
    ) -> None:
        """Read the file; the makers are of those that are no webhooks.

        Raises:
            StartError: the file is absent or cannot be used.

        """
        self._path = path
        self._makers = makers
        self._post = post
        self._clock = clock
        self._seen = b""
        self._kinds: frozenset[str] = frozenset()
        self._chain = AuthorizerChain(())
        self.load()

    def load(self) -> None:
        """Decide as the file says now; a file that cannot be used leaves all as it was.

        Raises:
            StartError: the file is absent or cannot be used.

        """
        data = read_if_there(self._path)
        if data is None:
            raise StartError(f"there is no {self._path}; mend {FLAG}")
        if data == self._seen:
            return
        try:
            members = configuration.read(data)
        except ValueError as error:
            raise StartError(f"{self._path} {error}; mend it") from error
        kinds = frozenset(member.type for member in members) - {"Webhook"}
        if missing := sorted(self._kinds - kinds):
            raise StartError(
                f"{self._path} has no authorizer of type {', '.join(missing)} any more; restart "
                "the server to leave it out"
            )
        makers = {**self._makers, **{m.name: self._maker(m) for m in members if m.webhook}}
        self._chain = chain_of([m.name if m.webhook else m.type for m in members], makers)
        self._seen, self._kinds = data, kinds

    def _maker(self, member: Member) -> Callable[[], Authorizer]:
        def make() -> Authorizer:
            webhook = member.webhook
            if webhook is None:
                raise StartError(f"{self._path}: authorizer {member.name!r} is no webhook")
            terms = Terms(
                version=webhook.version,
                allowed_seconds=webhook.allowed_seconds,
                other_seconds=webhook.other_seconds,
                timeout_seconds=webhook.timeout_seconds,
                denies=webhook.denies,
                conditions=webhook.conditions,
            )
            target = target_of_file(FLAG, webhook.kubeconfig)
            return WebhookAuthorizer(target, self._post, self._clock, terms)

        return make

    @property
    def asks_others(self) -> bool:
        """Whether the file names webhooks."""
        return self._chain.asks_others

    async def prepare(self, attributes: Attributes) -> None:
        """Let the webhooks of the file be asked."""
        await self._chain.prepare(attributes)

    def authorize(self, attributes: Attributes) -> Decision:
        """Decide at once."""
        return self._chain.authorize(attributes)

    async def follow(self) -> None:
        """Follow the file for as long as the server runs."""
        await follow((self._path.parent,), self._look)

    async def _look(self) -> None:
        try:
            await asyncio.to_thread(self.load)
        except StartError as error:
            log.warning("changed authorization config not used error=%s", error)
