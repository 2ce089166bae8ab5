"""What probes and hooks do: run a command, get a URL, connect, ask a health service, wait."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from minikube_py.agent.cri.errors import CriError, CriTimeoutError
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.kubelet.http_get import GetError, Target, dial_error, get_status
from minikube_py.api.object import Obj
from minikube_py.lib.protowire import Codec, WireError

OUTPUT_MAX = 10 << 10
HEALTH = Codec(
    {
        "Request": {"service": (1, "string")},
        "Response": {"status": (1, "Status")},
        "Status": {"enum": {"UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2, "SERVICE_UNKNOWN": 3}},
    }
)
"""grpc.health.v1, https://github.com/grpc/grpc/blob/master/doc/health-checking.md"""


class Outcome(NamedTuple):
    """How a handler ended."""

    ok: bool
    output: str = ""


class HandlerError(Exception):
    """The handler could not be run at all; says nothing about the container's health."""


def port_number(container: Obj, port: int | str) -> int:
    """Return the port that a number or the name of a container's port means."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise HandlerError(f"couldn't find port: {port}")


def target_of(action: Obj, container: Obj, host: str) -> Target:
    """Return the target of an httpGet action."""
    path = str(action.get("path") or "/")
    headers: Mapping[str, str] = {
        header["name"]: header.get("value", "") for header in action.get("httpHeaders") or ()
    }
    return Target(
        scheme=str(action.get("scheme") or "HTTP").lower(),
        host=action.get("host") or host,
        port=port_number(container, action["port"]),
        path=path if path.startswith("/") else f"/{path}",
        headers=headers,
    )


async def run_exec(
    runtime: Runtime, container_id: str, action: Obj, timeout_seconds: int
) -> Outcome:
    """Run a command in the container; ok where it ends with 0."""
    command = list(action.get("command") or ())
    try:
        result = await runtime.exec_sync(container_id, command, timeout_seconds)
    except CriTimeoutError:
        shown = " ".join(command)
        return Outcome(
            ok=False, output=f'command timed out: "{shown}" timed out after {timeout_seconds}s'
        )
    except CriError as error:
        raise HandlerError(error.message) from None
    output = (result.stdout + result.stderr)[:OUTPUT_MAX].decode(errors="replace")
    return Outcome(result.exit_code == 0, output)


async def run_http(target: Target, timeout_seconds: float) -> Outcome:
    """Get a URL; ok where the status is from 200 to 399."""
    try:
        status = await get_status(target, timeout_seconds)
    except GetError as error:
        return Outcome(ok=False, output=str(error))
    if 200 <= status < 400:
        return Outcome(ok=True)
    return Outcome(ok=False, output=f"HTTP probe failed with statuscode: {status}")


async def run_tcp(host: str, port: int, timeout_seconds: float) -> Outcome:
    """Connect and hang up; ok where somebody takes the call."""
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Outcome(ok=False, output=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Outcome(ok=False, output=dial_error(host, port, error))
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Outcome(ok=True)


async def run_grpc(host: str, port: int, service: str, timeout_seconds: float) -> Outcome:
    """Ask the health service of a gRPC server; ok where it serves."""
    import grpc.aio  # noqa: PLC0415 -- few containers are probed like this

    where = f"{host}:{port}" if ":" not in host else f"[{host}]:{port}"
    async with grpc.aio.insecure_channel(where, options=[("grpc.enable_http_proxy", 0)]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=lambda message: HEALTH.encode("Request", message),
            response_deserializer=lambda data: HEALTH.decode("Response", data),
        )
        try:
            answer = await check({"service": service}, timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                return Outcome(
                    ok=False,
                    output=f'timeout: failed to connect service "{where}" within'
                    f" {timeout_seconds:g}s: {error.details()}",
                )
            return Outcome(ok=False, output=f"error: health rpc failed: {error.details()}")
        except WireError as error:
            return Outcome(ok=False, output=f"error: health rpc failed: {error}")
    status = answer.get("status", "UNKNOWN")
    if status == "SERVING":
        return Outcome(ok=True)
    return Outcome(ok=False, output=f'service unhealthy (responded with "{status}")')
