"""Follows the encryption configuration: uses it, re-encrypts, and drops what is not needed.

A rotation is one write of the file, with the new key first and the old behind it. From there all
is convergence: new values are sealed with the new key, everything stored otherwise is written
again, the old versions in the history as well, and when all of it is, nothing is left of it in the
files of the datastore, and a file that kpy keeps loses all keys but the first. Switching encryption
on and off is the same with `identity` in the place of one of them.
"""

import asyncio
import logging
from dataclasses import replace

from minikube_py.datastore.history import Historian
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
        self,
        backend: Backend,
        past: Historian,
        files: Files,
        clock: Clock,
        services: Services | None = None,
    ) -> None:
        """Keep a backend and its history, both as they are stored."""
        self.services = services or Services()
        self.backend = SealedBackend(backend, self.services.keyring)
        """The datastore as everybody else is to see it."""
        self._past = past
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
        done = replace(begun, finished=True, past=True)
        if state == replace(
            done, checked=state.checked, rewritten=state.rewritten
        ) or await self._rewrite(begun, cut_off=bool(state.configuration) and not state.finished):
            self._drop_unused(name)

    async def _rewrite(self, state: State, *, cut_off: bool) -> bool:
        """Look through the whole datastore; False where the configuration changed meanwhile.

        `cut_off` tells that another process did not come to the end of this.
        """
        self._files.write_state(state)
        found = await self._rewrite_present(state)
        if found is None:
            return False
        old = await self._past.rewrite(PREFIX, self.backend.renewed)
        if old or found.rewritten or cut_off:
            await self._past.erase()
            log.info("re-encrypted values=%d of=%d old=%d", found.rewritten, found.checked, old)
        if self._is_replaced(found.configuration):
            return False
        self._files.write_state(replace(found, finished=True, past=True))
        return True

    async def _rewrite_present(self, state: State) -> State | None:
        """Look through what is there now; None where the configuration changed meanwhile."""
        after, more = "", True
        while more:
            page = await self.backend.inner.list(PREFIX, after=after, limit=PAGE)
            written = 0
            for kv in page.items:
                written += await self.backend.renew(kv)
                after = kv.key
            more = page.more
            checked, rewritten = state.checked + len(page.items), state.rewritten + written
            state = replace(state, checked=checked, rewritten=rewritten)
            if self._is_replaced(state.configuration):
                return None
            self._files.write_state(state)
        return state

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
