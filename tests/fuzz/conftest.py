"""A control plane that lives as long as a module of tests, in a thread with a loop of its own."""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson
import pytest
from yarl import URL

from tests.fuzz.operations import Operation, Request, operations
from tests.integration.conftest import Server, running

T = TypeVar("T")
ANSWER_SECONDS_MAX = 60.0
OURS = b"Internal error occurred; see the log"
"""What the server says where it is at fault; upstream has some 500 of its own, as we have."""


class Outcome(NamedTuple):
    """What came back."""

    status: int
    raw: bytes


class Errors(logging.Handler):
    """Gathers what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text with its traceback."""
        self.texts.append(logging.Formatter().format(record))


class Target:
    """The server under fire."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop
        self.errors = Errors()
        self.operations: list[Operation] = self.run(self._operations())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something beside the server, and wait for it."""
        bounded = asyncio.wait_for(work, ANSWER_SECONDS_MAX)
        return asyncio.run_coroutine_threadsafe(bounded, self._loop).result()

    def documents(self) -> dict[str, Any]:
        """Return the OpenAPI documents that are served, by path."""
        return self.run(self._documents())

    async def _documents(self) -> dict[str, Any]:
        index = orjson.loads((await self.server.call("GET", "/openapi/v3")).raw)
        return {
            path: orjson.loads((await self.server.call("GET", entry["serverRelativeURL"])).raw)
            for path, entry in index["paths"].items()
        }

    async def _operations(self) -> list[Operation]:
        documents = (await self._documents()).values()
        return [operation for document in documents for operation in operations(document)]

    def send(self, request: Request) -> Outcome:
        """Send a request; return what came back."""
        return self.run(self._send(request))

    async def _send(self, request: Request) -> Outcome:
        headers = {"Accept": request.accept, "Content-Type": request.content_type}
        url = URL(self.server.url + request.target, encoded=True)
        session = self.server.session
        async with session.request(
            request.method, url, data=request.body or None, headers=headers
        ) as answer:
            return Outcome(answer.status, await answer.read())

    def fire(self, request: Request) -> Outcome:
        """Send a request and look that it is answered or refused, and nothing breaks."""
        self.errors.texts.clear()
        outcome = self.send(request)
        assert OURS not in outcome.raw, (request, self.errors.texts)
        assert not self.errors.texts, (request, self.errors.texts)
        assert outcome.status < 600, request
        return outcome


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Run a control plane."""
    folder: Path = tmp_path_factory.mktemp("fuzz")
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    started, servers, failures = threading.Event(), [], []

    async def serve() -> None:
        async with running(folder) as server:
            servers.append(server)
            started.set()
            await stop.wait()

    def work() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:  # noqa: BLE001 -- handed to the test's thread
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name="fuzz target")
    thread.start()
    started.wait()
    if failures:
        raise failures[0]
    made = Target(servers[0], loop)
    # A pod waits for the account of its namespace, which a controller would make.
    account = {"metadata": {"name": "default"}}
    made.run(made.server.call("POST", "/api/v1/namespaces/default/serviceaccounts", account))
    logging.getLogger("minikube_py").addHandler(made.errors)
    try:
        yield made
    finally:
        logging.getLogger("minikube_py").removeHandler(made.errors)
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
    if failures:
        raise failures[0]
