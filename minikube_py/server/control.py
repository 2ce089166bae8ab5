"""What commands on the same machine ask a running server for: a socket in its folder.

The database belongs to the server alone, so what needs it while the server runs is done by the
server. The socket's mode and that of its folder say who may ask: who could read the database
anyway. A call is a line of JSON, the answer lines of JSON, of which the last has `done` or `error`.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from minikube_py.datastore.kv import DatastoreError
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import PRIVATE

log = logging.getLogger(__name__)
NAME = "control.sock"
CALL_BYTES_MAX = 64 << 10
CALLS_MAX = 8
"""At the same time; more are refused."""
Told = Mapping[str, Any]
Verb = Callable[[Told, Callable[[Told], None]], Awaitable[Told]]
"""(arguments, tell) -> what came of it; `tell` says how far it is."""


class NotRunningError(Exception):
    """No server runs on the folder."""


class RefusedError(StartError):
    """The server did not do it; the message says why."""


@contextlib.contextmanager
def _reachable(folder: Path) -> Iterator[str]:
    """Yield a name of the socket that is short enough, however deep its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}/{NAME}"
    finally:
        os.close(handle)


class Control:
    """Answers on the socket of a folder that nobody else uses."""

    def __init__(self, folder: Path, verbs: Mapping[str, Verb]) -> None:
        self._folder = folder
        self._verbs = verbs
        self._calls = 0

    async def run(self) -> None:
        """Answer until cancelled."""
        path = self._folder / NAME
        path.unlink(missing_ok=True)
        with _reachable(self._folder) as name:
            server = await asyncio.start_unix_server(self._answer, name, limit=CALL_BYTES_MAX)
        path.chmod(PRIVATE)  # until now the mode of the folder keeps others away
        try:
            async with server:
                await server.serve_forever()
        finally:
            path.unlink(missing_ok=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def tell(told: Told) -> None:
            writer.write(json.dumps(told).encode() + b"\n")

        self._calls += 1
        try:
            tell(await self._carry_out(await reader.readline(), tell))
            await writer.drain()
        except (OSError, ValueError) as error:
            log.debug("control call not answered: %s", error)
        finally:
            self._calls -= 1
            writer.close()

    async def _carry_out(self, line: bytes, tell: Callable[[Told], None]) -> Told:
        if self._calls > CALLS_MAX:
            return {"error": "the server does enough already; try again"}
        call = json.loads(line)
        verb = self._verbs.get(call.get("verb"))
        if verb is None:
            return {"error": f"this server does not know {call.get('verb')!r}"}
        try:
            return {"done": await verb(call, tell)}
        except (DatastoreError, StartError, OSError) as error:
            return {"error": str(error)}


async def ask(server: Path, verb: str, **arguments: Any) -> AsyncIterator[Told]:
    """Yield what the server of a folder tells; what comes last is its answer.

    Raises:
        NotRunningError: there is none.
        RefusedError: it did not do it, or ended meanwhile.

    """
    try:
        with _reachable(server) as name:
            reader, writer = await asyncio.open_unix_connection(name, limit=CALL_BYTES_MAX)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NotRunningError from error
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise RefusedError(f"cannot ask the server: {why}; run as root") from error
    try:
        writer.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        while line := await reader.readline():
            told = json.loads(line)
            if "error" in told:
                raise RefusedError(told["error"])
            yield told.get("done", told)
            if "done" in told:
                return
        raise RefusedError("the server ended before it was done")
    except OSError as error:
        raise RefusedError(f"the server ended before it was done: {error}") from error
    finally:
        writer.close()
