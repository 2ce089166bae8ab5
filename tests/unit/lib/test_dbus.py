"""D-Bus: its wire format, and a connection to a bus that a test plays."""

import asyncio
import contextlib
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.lib.dbus import Bus, connected
from minikube_py.lib.dbus_wire import (
    ANSWER,
    CALL,
    ERROR,
    HEAD_BYTES,
    SIGNAL,
    DbusError,
    Message,
    decode,
    encode,
    length_of,
    types_of,
)

Answers = Callable[[Message], tuple[dict[str, Any], tuple[Any, ...], list[int]]]


class FakeBus:
    """A bus with one client; `answer` says what comes of each call."""

    def __init__(self, path: Path, answer: Answers) -> None:
        self.calls: list[Message] = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self._listener.settimeout(0)
        self._client: socket.socket | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        client, _ = await loop.sock_accept(self._listener)
        self._client = client
        client.settimeout(0)
        data = b""
        for wanted, said in ((b"AUTH", b"OK 1\r\n"), (b"NEGO", b"AGREE_UNIX_FD\r\n")):
            while b"\r\n" not in data:
                data += await loop.sock_recv(client, 100)
            assert wanted in data
            data = b""
            await loop.sock_sendall(client, said)
        while not data.startswith(b"BEGIN\r\n"):
            data += await loop.sock_recv(client, 100)
        await self._serve(client, data[7:])

    async def _serve(self, client: socket.socket, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while len(data) < HEAD_BYTES or len(data) < length_of(data):
                more = await loop.sock_recv(client, 4096)
                if not more:
                    return
                data += more
            message, data = decode(data[: length_of(data)]), data[length_of(data) :]
            self.calls.append(message)
            fields, body, fds = self._answer(message)
            kind = ERROR if "error_name" in fields else ANSWER
            fields = {"reply_serial": message.serial, **fields}
            raw = encode(Message(kind=kind, serial=1, fields=fields, body=body))
            socket.send_fds(client, [raw], fds)
            for fd in fds:
                os.close(fd)

    def emit(self, member: str, signature: str, *body: Any) -> None:
        assert self._client is not None
        fields = {
            "path": "/x",
            "interface": "x.y",
            "member": member,
            "signature": signature,
        }
        self._client.send(encode(Message(kind=SIGNAL, serial=2, fields=fields, body=body)))

    def close(self) -> None:
        for one in (self._listener, self._client):
            if one is not None:
                one.close()


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="bus") as folder:
        yield Path(folder) / "s"


@contextlib.asynccontextmanager
async def on_bus(path: Path, answer: Answers) -> AsyncIterator[tuple[FakeBus, Bus]]:
    fake = FakeBus(path, answer)
    served = asyncio.ensure_future(fake.run())
    try:
        async with connected(path) as bus:
            yield fake, bus
    finally:
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)
        fake.close()


def nothing(_: Message) -> tuple[dict[str, Any], tuple[Any, ...], list[int]]:
    return {}, (), []


VALUES = st.one_of(
    st.tuples(st.just("s"), st.text(st.characters(exclude_characters="\0", codec="utf-8"))),
    st.tuples(st.just("u"), st.integers(0, 2**32 - 1)),
    st.tuples(st.just("x"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("b"), st.booleans()),
    st.tuples(st.just("y"), st.integers(0, 255)),
    st.tuples(st.just("as"), st.lists(st.sampled_from(["", "a", "bc"]))),
    st.tuples(st.just("a(yt)"), st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=2))),
)


@given(st.lists(VALUES, max_size=5))
def test_what_is_written_is_read_again(values):
    fields = {"member": "M", "signature": "".join(kind for kind, _ in values)}
    message = Message(kind=CALL, serial=7, fields=fields, body=[value for _, value in values])
    data = encode(message)
    assert length_of(data[:HEAD_BYTES]) == len(data)
    found = decode(data)
    assert (found.kind, found.serial, dict(found.fields)) == (CALL, 7, fields)
    assert list(found.body) == [value for _, value in values]


def test_signatures_are_taken_apart():
    assert list(types_of("sa{sv}(yu)v")) == ["s", "a{sv}", "(yu)", "v"]
    with pytest.raises(DbusError, match="not understood"):
        list(types_of("s?"))


@given(st.binary(max_size=200))
def test_nonsense_is_no_message(data):
    with contextlib.suppress(DbusError):
        decode(b"l" + data)


async def test_a_call_gets_its_answer_with_what_comes_along(path):
    reading, writing = os.pipe()

    def answer(message: Message) -> Any:
        if message.fields["member"] == "Open":
            return {"signature": "sh", "unix_fds": 1}, (message.body[0].upper(), 0), [writing]
        return {}, (), []

    async with on_bus(path, answer) as (fake, bus):
        found = await bus.call(("d", "/p", "i.f"), "Open", "s", "door")
        assert found.values[0] == "DOOR"
        os.write(found.fds[0], b"!")
        assert os.read(reading, 1) == b"!"
        for fd in (*found.fds, reading):
            os.close(fd)
        assert [call.fields["member"] for call in fake.calls] == ["Hello", "Open"]


async def test_an_error_is_told_in_its_own_words(path):
    def answer(message: Message) -> Any:
        if message.fields["member"] == "Hello":
            return {}, (), []
        return {"error_name": "org.x.Denied", "signature": "s"}, ("not you",), []

    async with on_bus(path, answer) as (_, bus):
        with pytest.raises(DbusError, match=r"org\.x\.Denied not you"):
            await bus.call(("d", "/p", "i.f"), "Open")


async def test_signals_come_in_order_and_the_end_of_the_bus_too(path):
    async with on_bus(path, nothing) as (fake, bus):
        await bus.match(type="signal", member="Ping")
        assert fake.calls[-1].body == ["type='signal',member='Ping'"]
        for number in (1, 2):
            fake.emit("Ping", "u", number)
        messages = [await bus.signals.get() for _ in range(2)]
        assert [message and message.body for message in messages] == [[1], [2]]
        fake.close()
        assert await bus.signals.get() is None
        with pytest.raises(DbusError):
            await bus.call(("d", "/p", "i.f"), "Open")


async def test_without_a_bus_there_is_a_clear_word(path):
    with pytest.raises(DbusError, match="No such file"):
        async with connected(path):
            pass
