"""The datastore of several servers: a log in PostgreSQL or MySQL, an index in each server.

Each server follows the log, which every server has to do anyway for its watches. A read asks the
database for the newest revision first, together with all who ask at that moment, so it shows what
any server acknowledged before it. PostgreSQL tells of each commit; MySQL cannot, so it is asked.
"""

import asyncio
import logging
from collections.abc import Sequence

from minikube_py.datastore.history import LogHistory
from minikube_py.datastore.index import Index
from minikube_py.datastore.kv import Event, FutureRevisionError, UnavailableError
from minikube_py.datastore.logged import LoggedBackend
from minikube_py.datastore.retention import NO_HISTORY, Retention, marks_of
from minikube_py.datastore.shared.database import Database
from minikube_py.datastore.shared.dialects import Listen
from minikube_py.datastore.shared.endpoint import DatabaseEndpoint
from minikube_py.datastore.shared.writer import SharedWriter, read_index
from minikube_py.lib.clock import Clock, SystemClock
from minikube_py.lib.tasks import Nursery

log = logging.getLogger(__name__)

DROP_VERSIONS = 512
ASK_FIRST_SECONDS = 0.05
ASK_LAST_SECONDS = 1.0
"""A database that tells nobody is asked this often: less and less while nothing comes."""
LISTEN_ASK_SECONDS = 10.0
"""A line that is dead without anybody knowing is found out after this."""


class SharedBackend(LoggedBackend):
    """The store in a database server."""

    _writer: SharedWriter

    def __init__(self, database: Database, index: Index, *, compacted: int, clock: Clock) -> None:
        revision = max(index.revision, compacted)
        super().__init__(database, index, revision=revision, compacted=compacted)
        self._database = database
        self._clock = clock
        self._writer = SharedWriter(database, index, self._tail, self._note_compacted, clock)
        self._retention = NO_HISTORY
        self.history = LogHistory(database, self.revision, self._oldest, self._size)
        self._compaction = asyncio.Lock()
        self._heard = asyncio.Event()
        self._tasks = Nursery("datastore")
        self._tasks.start("follow", self._follow())
        if database.dialect.listen is not None:
            self._tasks.start("listen", self._listen(database.dialect.listen))

    @classmethod
    async def open(
        cls,
        endpoint: DatabaseEndpoint,
        *,
        retention: Retention = NO_HISTORY,
        clock: Clock | None = None,
    ) -> "SharedBackend":
        """Connect to the database and read the log; raises DatastoreError."""
        database = await Database.open(endpoint)
        try:
            weakness = await database.weakness()
            if weakness:
                log.warning("the datastore may lose what it acknowledged: %s", weakness)
            index = await read_index(database)
            compacted = await database.mark("compacted")
        except BaseException:
            await database.close()
            raise
        backend = cls(database, index, compacted=compacted, clock=clock or SystemClock())
        backend._retention = retention
        return backend

    async def _size(self) -> int:
        return marks_of(await self._database.state()).history

    async def _oldest(self, prefix: str) -> int:
        state = await self._database.state()
        keeps = self._retention.keeps(prefix)
        return marks_of(state).trimmed if keeps else state["compacted"]

    async def close(self) -> None:
        """Write what was accepted, end the watches, close the connections."""
        await self._tasks.cancel()
        await super().close()
        await self._database.close()

    async def _catch_up(self) -> None:
        await self._writer.caught_up()

    async def _listen(self, listen: Listen) -> None:
        """Hear of commits for as long as the database is there, and again when it is back."""
        while True:
            try:
                await listen(self._database.endpoint, self._hear)
            except UnavailableError as error:
                log.debug("not told of commits: %s", error)
            self._heard.set()  # what was committed since is looked for now
            await self._clock.sleep(ASK_LAST_SECONDS)

    def _hear(self, revision: int) -> None:
        if revision > self._tail.revision:
            self._heard.set()

    async def _follow(self) -> None:
        """Take in what others write, soon after they did."""
        told = self._database.dialect.listen is not None
        wait = LISTEN_ASK_SECONDS if told else ASK_FIRST_SECONDS
        while True:
            before = self._tail.revision
            await self._look()
            await self._trim()
            if not told:
                moved = self._tail.revision > before
                wait = ASK_FIRST_SECONDS if moved else min(wait * 2, ASK_LAST_SECONDS)
            self._heard.clear()
            await self._hearing(wait)

    async def _look(self) -> None:
        """Catch up once, however long the database is away; say so once."""
        away = False
        while True:
            try:
                await self._catch_up()
            except UnavailableError as error:
                if not away:
                    log.warning("datastore away, trying again: %s", error)
                away = True
                await self._clock.sleep(ASK_LAST_SECONDS)
            else:
                if away:
                    log.info("datastore is back revision=%d", self._tail.revision)
                return

    async def _hearing(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._heard.wait()
        except TimeoutError:
            return

    async def _history(self, prefix: str, after: int, until: int) -> Sequence[Event]:
        events = await super()._history(prefix, after, until)
        if after >= until:
            return events  # nothing was read, and who waits for events must not miss the next
        # Another server's compaction may have taken rows from what was read.
        self._note_compacted(await self._database.mark("compacted"))
        self._check_revision(after)
        return events

    def _note_compacted(self, revision: int) -> None:
        """Refuse what is older from now on; `_trim` forgets it."""
        self._compacted = self._index.forgotten = max(self._compacted, revision)

    async def _trim(self) -> None:
        """Forget versions whose rows are gone or will go soon, some at a time."""
        while versions := self._index.garbage(self._compacted, DROP_VERSIONS):
            self._index.drop(versions)
            await asyncio.sleep(0)

    async def compact(self, revision: int) -> None:
        """Drop the history before a revision in small steps; servers may do so at the same time."""
        await self._catch_up()
        if revision > self._tail.revision:
            raise FutureRevisionError(revision, self._tail.revision)
        async with self._compaction:
            await self._database.compact(revision)
            self._note_compacted(revision)
            await self._trim()
            while await self._database.sweep(self._retention):
                pass
