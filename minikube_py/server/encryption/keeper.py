"""Follows the encryption configuration: uses it, re-encrypts, and drops what is not needed.

A rotation is one write of the file, with the new key first and the old behind it. From there all
is convergence: new values are sealed with the new key, everything stored otherwise is written
again, and when all of it is, a file that kpy keeps loses all keys but the first. Switching
encryption on and off is the same with `identity` in the place of one of them.
"""

import asyncio
import logging
from dataclasses import replace

from minikube_py.datastore.kv import Backend
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.inotify import Inotify
from minikube_py.server.encryption.backend import SealedBackend
from minikube_py.server.encryption.configuration import Configuration, Rule, Sealer, new_key
from minikube_py.server.encryption.files import Files, State
from minikube_py.server.encryption.keyring import primary
from minikube_py.server.encryption.providers import MARK
from minikube_py.server.encryption.services import Services

log = logging.getLogger(__name__)
SECRETS = "secrets"
SECRETS_PREFIX, PREFIX = "/registry/secrets/", "/registry/"
PAGE = 500
"""Values looked at between two reports of the state."""
SERVICE_SECONDS = 60.0
"""Between two looks at a key service, as often as upstream asks."""
IDENTITY = Sealer("identity")


class Keeper:
    """Keeps the datastore as the configuration wants it."""

    def __init__(
        self, backend: Backend, files: Files, clock: Clock, services: Services | None = None
    ) -> None:
        self.services = services or Services()
        self.backend = SealedBackend(backend, self.services.keyring)
        """The datastore as everybody else is to see it."""
        self._files = files
        self._clock = clock
        self._used = ""

    async def start(self) -> None:
        """Use the configuration; make one where there is none.

        Raises:
            StartError: the configuration cannot be used, or it is gone and values need it.

        """
        if self._files.own and not self._files.configuration.exists():
            await self._begin()
        wanted, name = self._files.read()
        await self.backend.use(wanted)
        self._used = name

    async def _begin(self) -> None:
        """Write the first configuration: encrypt secrets, and read what is there without."""
        inner = self.backend.inner
        there = (await inner.list(SECRETS_PREFIX)).items if await inner.revision() else ()
        if any(kv.value.startswith(MARK) for kv in there):
            raise StartError(
                f"the datastore holds encrypted secrets and {self._files.configuration} is gone; "
                "bring it back from a backup of the data dir"
            )
        sealers = (Sealer("aesgcm", new_key()), *((IDENTITY,) if there else ()))
        self._files.write(Configuration((Rule((SECRETS,), sealers),)))

    async def run(self) -> None:
        """Follow the file and the key services for as long as the server runs."""
        folder = self._files.configuration.parent
        notify = Inotify()
        try:
            with notify.folder(folder) as changed:
                while True:
                    changed.clear()
                    await self.converge()
                    await self._changed(changed)
        finally:
            notify.close()

    async def _changed(self, changed: asyncio.Event) -> None:
        """Wait for another configuration, or until the services have to be asked again."""
        timer = None
        if self.services.used():
            timer = self._clock.call_later(SERVICE_SECONDS, changed.set)
        try:
            await changed.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def converge(self) -> None:
        """Use the newest configuration and bring every value under it."""
        try:
            wanted, name = self._files.read()
        except StartError as error:
            log.warning("encryption configuration not used, the last one stays: %s", error)
            return
        if name != self._used:
            await self.backend.use(wanted)
            self._used = name
            log.info("encryption configuration in use")
        await self.services.refresh()
        state, begun = self._files.read_state(), State(name, self.services.key_ids())
        if state == replace(
            begun, finished=True, checked=state.checked, rewritten=state.rewritten
        ) or await self._rewrite(begun):
            self._drop_unused(name)

    async def _rewrite(self, state: State) -> bool:
        """Look through the whole datastore; False where the configuration changed meanwhile."""
        after = ""
        while not state.finished:
            page = await self.backend.inner.list(PREFIX, after=after, limit=PAGE)
            written = 0
            for kv in page.items:
                written += await self.backend.renew(kv)
                after = kv.key
            state = replace(
                state,
                finished=not page.more,
                checked=state.checked + len(page.items),
                rewritten=state.rewritten + written,
            )
            if self._is_replaced(state.configuration):
                return False
            self._files.write_state(state)
        if state.rewritten:
            log.info("re-encrypted values=%d of=%d", state.rewritten, state.checked)
        return True

    def _is_replaced(self, name: str) -> bool:
        try:
            return self._files.read()[1] != name
        except StartError:
            return True

    def _drop_unused(self, name: str) -> None:
        """Leave of a configuration that kpy keeps what seals: nothing needs the others now."""
        if not self._files.own:
            return
        with self._files.changing():
            current, digest = self._files.read()
            wanted = Configuration(tuple(primary(rule) for rule in current.rules))
            if digest != name or wanted == current:
                return
            self._files.write(wanted)
            _, self._used = self._files.read()
            self._files.write_state(
                replace(self._files.read_state(), configuration=self._used, finished=True)
            )
            self.backend.keyring.use(wanted)
