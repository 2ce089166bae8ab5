"""Calls to a cluster of etcd: one member at a time, the next one when that fails.

A call goes out on a channel that is connected, so what cannot be sent is not lost but sent to
another member. What was sent and not answered may have been done: reads are asked again, writes
are answered UnavailableError. Every request needs a leader (etcd's `hasleader`), so a member that
is cut off from the others says so at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from minikube_py.datastore.etcd.endpoint import EtcdEndpoint
from minikube_py.datastore.etcd.messages import PACKAGE, SERVICES, codec
from minikube_py.datastore.kv import DatastoreError, UnavailableError
from minikube_py.lib.grpc import grpc_library

CALL_SECONDS = 5.0
"""How long one request may take at one member; etcd itself gives a write up after 7 s."""
CONNECT_SECONDS = 2.0
"""How long connecting to one member, or beginning a stream, may take before the next is tried."""
ROUNDS = 2
"""How often all members are tried before a request is given up."""
MESSAGE_BYTES_MAX = 64 << 20
KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS = 10_000, 3_000
"""A member that stands still is found out after this; etcd allows a ping every 5 s."""
UNTOLD = "UNKNOWN"
"""What etcd says of errors that are nobody's fault: "raft proposal dropped" while the lead goes to
another member. Whether the request counts is as unknown as where no answer comes."""
AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", UNTOLD})
LEADER = ("hasleader", "true")
BAD_TOKEN = "etcdserver: invalid auth token"  # noqa: S105
Message = Mapping[str, Any]


class EtcdError(DatastoreError):
    """What etcd answers to a request that it refuses; `details` are its words."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"etcd: {details or code}")
        self.code = code
        self.details = details


class Connection:
    """Calls of a cluster; opened at the first call, closed with `close`."""

    def __init__(self, endpoint: EtcdEndpoint) -> None:
        self.endpoint = endpoint
        self._channels: dict[int, Any] = {}
        self._place = 0
        self._token = ""
        self._closed = False

    async def call(
        self, service: str, method: str, request: Message, *, again: bool = False
    ) -> dict[str, Any]:
        """Return the answer of one call; `again`: it does no harm to ask twice.

        Raises:
            UnavailableError: no member answers, or it is not known whether one did as asked.
            EtcdError: the request is refused.

        """
        rounds = ROUNDS * len(self.endpoint.members) if again else 1
        while True:
            rounds -= 1
            try:
                return await self._once(service, method, request)
            except UnavailableError:
                if rounds <= 0 or self._closed:
                    raise

    async def _once(self, service: str, method: str, request: Message) -> dict[str, Any]:
        place, channel = await self._connected()
        kinds, table = SERVICES[service][method], codec()
        invoke = channel.unary_unary(
            f"/{PACKAGE}.{service}/{method}",
            request_serializer=lambda message: table.encode(kinds.request, message),
            response_deserializer=lambda data: table.decode(kinds.response, data),
        )
        try:
            metadata = await self._metadata(channel)
            answer: dict[str, Any] = await invoke(request, timeout=CALL_SECONDS, metadata=metadata)
        except grpc_library().aio.AioRpcError as error:
            raise await self._failed(place, error.code().name, error.details() or "") from None
        except asyncio.CancelledError:
            _raise_if_cancelled()  # else it was the channel that was closed
            raise await self._failed(place, "CANCELLED", "connection closed") from None
        return answer

    async def watch(self, request: Message) -> AsyncGenerator[dict[str, Any]]:
        """Yield what a watch answers, for ever; raises UnavailableError when it ends."""
        place, channel = await self._connected()
        table = codec()
        invoke = channel.stream_stream(
            f"/{PACKAGE}.Watch/Watch",
            request_serializer=lambda message: table.encode("WatchRequest", message),
            response_deserializer=lambda data: table.decode("WatchResponse", data),
        )
        stream = None
        try:
            stream = invoke(metadata=await self._metadata(channel))
            async with asyncio.timeout(CONNECT_SECONDS):  # for ever if the channel is closed now
                await stream.write({"create_request": request})
            while (answer := await stream.read()) is not grpc_library().aio.EOF:
                yield answer
            # The reading ends without a word where the member went away; its status tells why.
            code, details = (await stream.code()).name, await stream.details() or ""
        except grpc_library().aio.AioRpcError as error:
            code, details = error.code().name, error.details() or ""
        except TimeoutError:
            code, details = "UNAVAILABLE", "stream not begun in time"
        except asyncio.InvalidStateError:
            code, details = "UNAVAILABLE", "stream ended"
        except asyncio.CancelledError:
            _raise_if_cancelled()
            code, details = "CANCELLED", "connection closed"
        finally:
            if stream is not None:
                stream.cancel()
                await stream.code()  # until gRPC has let go of it
        raise await self._failed(place, code if code != "OK" else "UNAVAILABLE", details)

    async def _connected(self) -> tuple[int, Any]:
        """Return a channel that is connected and its place; tries the members in turn."""
        for _ in range(ROUNDS * len(self.endpoint.members)):
            if self._closed:
                raise UnavailableError("the datastore is closed")
            place, channel = self._place, self._open(self._place)
            if await _is_ready(channel):
                return place, channel
            await self._leave(place, broken=True)
        raise UnavailableError(
            f"no member of etcd can be reached: {', '.join(self.endpoint.members)}"
        )

    def _open(self, place: int) -> Any:
        """Return the channel to a member; a new one reads the certificates anew."""
        channel = self._channels.get(place)
        if channel is not None:
            return channel
        grpc, member = grpc_library(), self.endpoint.members[place]
        options = [
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.keepalive_time_ms", KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
            ("grpc.http2.max_pings_without_data", 0),
        ]
        if self.endpoint.secure:
            credentials = grpc.ssl_channel_credentials(*self.endpoint.certificates())
            channel = grpc.aio.secure_channel(member, credentials, options=options)
        else:
            channel = grpc.aio.insecure_channel(member, options=options)
        self._channels[place] = channel
        return channel

    async def _failed(self, place: int, code: str, details: str) -> DatastoreError:
        """Go on to the next member where this one is at fault; return what to raise."""
        if code in AWAY:
            # The member is there, but without a leader.
            spoke = code == UNTOLD or details.startswith("etcdserver:")
            await self._leave(place, broken=not spoke)
            why = details or code.lower()
            return UnavailableError(f"etcd {self.endpoint.members[place]}: {why}")
        if details == BAD_TOKEN:
            self._token = ""
            return UnavailableError(f"etcd {self.endpoint.members[place]}: logged out")
        return EtcdError(code, details)

    async def _leave(self, place: int, *, broken: bool) -> None:
        if self._place == place:
            self._place = (place + 1) % len(self.endpoint.members)
        if broken and (channel := self._channels.pop(place, None)) is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await channel.close()
            _raise_if_cancelled()

    async def _metadata(self, channel: Any) -> tuple[tuple[str, str], ...]:
        if not self.endpoint.user:
            return (LEADER,)
        if not self._token:
            table = codec()
            login = channel.unary_unary(
                f"/{PACKAGE}.Auth/Authenticate",
                request_serializer=lambda message: table.encode("AuthenticateRequest", message),
                response_deserializer=lambda data: table.decode("AuthenticateResponse", data),
            )
            who = {"name": self.endpoint.user, "password": self.endpoint.password}
            self._token = (await login(who, timeout=CALL_SECONDS)).get("token", "")
        return LEADER, ("token", self._token)

    async def close(self) -> None:
        """Close the channels; calls under way fail."""
        self._closed = True
        for place in tuple(self._channels):
            await self._leave(place, broken=True)


async def _is_ready(channel: Any) -> bool:
    """Tell whether a channel is connected, as soon as that is known."""
    states = grpc_library().ChannelConnectivity
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            while (state := channel.get_state(try_to_connect=True)) is not states.READY:
                if state in (states.TRANSIENT_FAILURE, states.SHUTDOWN):
                    return False
                await channel.wait_for_state_change(state)
    except (TimeoutError, grpc_library().aio.UsageError):
        return False
    except asyncio.CancelledError:
        _raise_if_cancelled()
        return False  # another caller has closed the channel
    return True


def _raise_if_cancelled() -> None:
    """Pass on that this task is cancelled; gRPC raises the same when a channel is closed."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
