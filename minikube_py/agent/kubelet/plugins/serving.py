"""gRPC services of the kubelet on sockets of its own, by message names instead of stubs."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.lib.fsutil import make_dir
from minikube_py.lib.grpc import grpc_library
from minikube_py.lib.protowire import Codec


class RefusedError(Exception):
    """A call is answered with an error; the text is what the caller sees."""

    def __init__(self, message: str, code: str = "UNKNOWN") -> None:
        """Take a gRPC status code by its name; UNKNOWN is what plain errors of Go become."""
        super().__init__(message)
        self.code = code


class Method(NamedTuple):
    """One call: the names of its messages, and who answers it."""

    request: str
    answer: str
    act: Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@contextlib.asynccontextmanager
async def serving(
    socket: Path, service: str, methods: Mapping[str, Method], table: Codec
) -> AsyncIterator[None]:
    """Serve on a socket, which is made anew, for the length of the block."""
    grpc = grpc_library()
    _clear(socket)
    server = grpc.aio.server()
    handlers = {name: _handler(method, table) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)
        _clear(socket)


def _clear(socket: Path) -> None:
    make_dir(socket.parent, 0o750)
    socket.unlink(missing_ok=True)


def _handler(method: Method, table: Codec) -> Any:
    grpc = grpc_library()

    async def answer(request: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
        try:
            return await method.act(request)
        except RefusedError as error:
            await context.abort(grpc.StatusCode[error.code], str(error))
            raise  # not reached: abort raises

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=lambda data: table.decode(method.request, data),
        response_serializer=lambda message: table.encode(method.answer, message),
    )
