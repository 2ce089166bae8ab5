"""The part of the kubelet's server that connects callers with containers."""

from collections.abc import Sequence

from aiohttp import hdrs, web

from minikube_py.agent.kubelet import streaming
from minikube_py.agent.kubelet.pod import find_spec
from minikube_py.agent.kubelet.server_host import UID_LABEL, Host, node_uid
from minikube_py.api.errors import BadRequestError, InternalError, NotFoundError


class Commands:
    """Exec, attach, port-forward and run."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def exec(self, request: web.BaseRequest, rest: Sequence[str]) -> web.StreamResponse:
        """Run a command in a container and connect the caller with it."""
        options = _stream_options(request)
        target = self._host.target(rest)
        container = await self._host.running_container(target)
        message = {
            "container_id": container.id,
            "cmd": request.query.getall("command", []),
            "tty": options.tty,
            "stdin": options.stdin,
            "stdout": options.stdout,
            "stderr": options.stderr,
        }
        _require_upgrade(request)
        url = await self._host.runtime.exec_url(message)
        return await streaming.serve_command(request, url, options)

    async def attach(self, request: web.BaseRequest, rest: Sequence[str]) -> web.StreamResponse:
        """Connect the caller with the process that runs in a container."""
        options = _stream_options(request)
        target = self._host.target(rest)
        container = await self._host.running_container(target)
        # A process has a terminal or has none from its start: what the caller says is not asked.
        spec = find_spec(target.pod, target.container)
        tty = bool(spec is not None and spec.container.get("tty"))
        options = streaming.StreamOptions(
            stdin=options.stdin, stdout=options.stdout, stderr=options.stderr and not tty, tty=tty
        )
        message = {
            "container_id": container.id,
            "tty": options.tty,
            "stdin": options.stdin,
            "stdout": options.stdout,
            "stderr": options.stderr,
        }
        _require_upgrade(request)
        url = await self._host.runtime.attach_url(message)
        return await streaming.serve_command(request, url, options)

    async def port_forward(
        self, request: web.BaseRequest, rest: Sequence[str]
    ) -> web.StreamResponse:
        """Connect the caller with ports of a pod."""
        if len(rest) not in (2, 3):
            raise NotFoundError("404 page not found")
        ports = _forwarded_ports(request)
        pod = self._host.pod(rest[0], rest[1], rest[2] if len(rest) == 3 else "")
        sandboxes = await self._host.runtime.list_sandboxes({UID_LABEL: node_uid(pod)})
        ready = [sandbox for sandbox in sandboxes if sandbox.ready]
        if not ready:
            raise InternalError(f'pod not found ("{rest[1]}_{rest[0]}")')
        newest = max(ready, key=lambda sandbox: sandbox.created_at)
        _require_upgrade(request)
        url = await self._host.runtime.port_forward_url(newest.id, ports)
        return await streaming.serve_port_forward(request, url)

    async def run(self, request: web.BaseRequest, rest: Sequence[str]) -> web.StreamResponse:
        """Run a command and answer with what it wrote."""
        container = await self._host.running_container(self._host.target(rest))
        command = request.query.get("cmd", "").split(" ")
        result = await self._host.runtime.exec_sync(container.id, command, 0)
        if result.exit_code:
            raise InternalError(f"command exited with {result.exit_code}")
        output = result.stdout + result.stderr
        return web.Response(body=output, headers={hdrs.CONTENT_TYPE: "application/json"})


def _stream_options(request: web.BaseRequest) -> streaming.StreamOptions:
    flags = {name: request.query.get(name) == "1" for name in ("input", "output", "error", "tty")}
    if not (flags["input"] or flags["output"] or flags["error"]):
        raise BadRequestError("you must specify at least 1 of stdin, stdout, stderr")
    return streaming.StreamOptions(
        stdin=flags["input"],
        stdout=flags["output"],
        # A terminal has one stream of output.
        stderr=flags["error"] and not flags["tty"],
        tty=flags["tty"],
    )


def _forwarded_ports(request: web.BaseRequest) -> list[int]:
    """Return the ports of an old WebSocket port-forward; SPDY names them stream by stream."""
    if not streaming.is_websocket(request) or streaming.TUNNEL in streaming.offered(request):
        return []
    texts = [text for value in request.query.getall("port", []) for text in value.split(",")]
    if not texts:
        raise BadRequestError('query parameter "port" is required')
    if not all(text.isdigit() and 0 < int(text) < 65536 for text in texts):
        raise BadRequestError(f"unable to parse {','.join(texts)!r} as a port")
    return [int(text) for text in texts]


def _require_upgrade(request: web.BaseRequest) -> None:
    if not streaming.is_upgrade(request):
        raise BadRequestError("Upgrade request required")
