"""Requests that are handed on: exec, attach, port-forward, logs and the three kinds of proxy.

Authorisation and admission (CONNECT) happen here; the bytes go straight between the client and
the kubelet, the pod or the service.
"""

import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlencode

from aiohttp import web

from minikube_py.api import addresses
from minikube_py.api.core import NODES, PODS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.errors import BadRequestError, ServiceUnavailableError
from minikube_py.api.object import Key, Obj, get
from minikube_py.api.resource import Resource
from minikube_py.lib.forwarding import is_upgrade
from minikube_py.lib.tls import unverified
from minikube_py.server.apiserver import log_options
from minikube_py.server.apiserver.call import Call
from minikube_py.server.apiserver.connect_options import options_of, ports_of
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.apiserver.streams import NO_CACHE
from minikube_py.server.apiserver.upgrade import tunnel
from minikube_py.server.registry.store import Store

KUBELET_PORT = 10250
_KUBELET = {
    "exec": "exec",
    "attach": "attach",
    "portforward": "portForward",
    "log": "containerLogs",
}
_STREAMS = ("exec", "attach", "portforward")


_PATH_SAFE = "/$&+,:;=@-_.~"
"""What Go leaves as it is in a path, beside letters and digits."""


class Connector:
    """Hands requests on; `tls` carries the client certificate that kubelets know."""

    def __init__(self, store: Store, proxy: Proxy, tls: ssl.SSLContext) -> None:
        self._store = store
        self._proxy = proxy
        self._tls = tls

    def connects(self, resource: Resource, subresource: str) -> bool:
        """Tell whether this subresource is handed on."""
        if subresource == "proxy":
            return resource.group_resource in ("pods", "services", "nodes")
        return resource.group_resource == "pods" and subresource in _KUBELET

    async def handle(
        self, request: web.BaseRequest, call: Call, info: RequestInfo
    ) -> web.StreamResponse:
        """Hand one request on and its answer back."""
        if call.subresource == "log":
            log_options.check(call.name, request.query)
        obj = self._store.get(call.resource, call.namespace, _plain_name(call)).obj
        if call.subresource == "log" and not get(obj, "spec.nodeName"):
            _container(obj, request.query.get("container", ""), call.subresource)
            return web.Response(status=204, headers=NO_CACHE)  # there is nothing to read yet
        if call.subresource != "log":
            query = tuple(request.query.items())
            options = options_of(call.resource, call.subresource, query, info.rest)
            await self._store.connect(call.write("CONNECT"), options)
        if call.subresource == "proxy":
            return await self._forward(request, call, info, obj)
        url = self._kubelet_url(request, call, obj)
        if call.subresource in _STREAMS:
            if not is_upgrade(request):
                raise BadRequestError("Upgrade request required")
            return await tunnel(request, url, self._tls, proxy=self._proxy)
        return await self._proxy.stream(request, url, self._tls, target=f"pods/log {call.name}")

    def _kubelet_url(self, request: web.BaseRequest, call: Call, pod: Obj) -> str:
        """Return where the kubelet answers for a container of the pod."""
        query = dict(request.query)
        container = _container(pod, query.pop("container", ""), call.subresource)
        node = get(pod, "spec.nodeName")
        if not node:
            raise BadRequestError(f"pod {call.name} does not have a host assigned")
        if call.subresource == "log":
            _check_started(pod, container)
        parts = [_KUBELET[call.subresource], call.namespace, call.name]
        if call.subresource != "portforward":
            parts.append(container)
        path = "/".join(quote(part) for part in parts)
        pairs = [(key, value) for key, value in request.query.items() if key != "container"]
        flags = _flags(call.subresource, pairs)
        return f"{self._kubelet_base(str(node))}/{path}" + (f"?{urlencode(flags)}" if flags else "")

    def _kubelet_base(self, node_name: str) -> str:
        return kubelet_base(self._store.get(NODES, "", node_name).obj)

    async def _forward(
        self, request: web.BaseRequest, call: Call, info: RequestInfo, obj: Obj
    ) -> web.StreamResponse:
        scheme, _, port = _split_name(call.name)
        tls: ssl.SSLContext | None
        if call.resource is NODES:
            base, tls = self._kubelet_base(_plain_name(call)), self._tls
        else:
            base = self._target(call, obj, scheme, port)
            # Nobody vouches for pods; upstream verifies nothing either (its proxy transport).
            tls = unverified() if base.startswith("https:") else None
        path, mark, query = request.raw_path.partition("?")
        url = f"{base}{quote(info.rest, safe=_PATH_SAFE) or '/'}{mark}{query}"
        prefix = call.resource.path(call.namespace, call.name, "proxy")
        if is_upgrade(request):
            return await tunnel(request, url, tls, proxy=self._proxy)
        if not info.rest and request.method in ("GET", "HEAD"):
            # Relative links of the page would lead astray (upstream: proxyRedirectsforRootPath).
            return web.Response(status=301, headers={"Location": f"{path}/{mark}{query}"})
        return await self._proxy.forward(request, url, tls, prefix=prefix)

    def _target(self, call: Call, obj: Obj, scheme: str, port: str) -> str:
        """Return the address of a pod, or of one ready endpoint of a service."""
        if call.resource is PODS:
            address = _proxyable(get(obj, "status.podIP") or "")
            number = port or str(_first_port(obj))
        else:
            address, number = self._endpoint(call, obj, port)
        if not address:
            raise ServiceUnavailableError(f'no endpoints available for "{call.name}"')
        return f"{scheme or 'http'}://{_bracketed(str(address))}:{number}"

    def _endpoint(self, call: Call, service: Obj, port: str) -> tuple[str, str]:
        ports: Sequence[Obj] = get(service, "spec.ports", ())
        wanted = _service_port(ports, port)
        if wanted is None:
            raise ServiceUnavailableError(
                f'no service port "{port}" found for service "{service["metadata"]["name"]}"'
            )
        for item in self._store.kind(ENDPOINTSLICES).items(call.namespace):
            if item.labels.get("kubernetes.io/service-name") != service["metadata"]["name"]:
                continue
            number = _port_number(item.obj, str(wanted.get("name", "")))
            found = next((e for e in get(item.obj, "endpoints", ()) if self._serves(e, call)), None)
            if found is not None and number:
                return str(found["addresses"][0]), number
        raise ServiceUnavailableError(f'no endpoints available for service "{call.name}"')

    def _serves(self, endpoint: Obj, call: Call) -> bool:
        # Only what a pod of the namespace has for an address (upstream: isValidAddress): who
        # writes EndpointSlices must not get at what is reached from this machine alone.
        target = endpoint.get("targetRef") or {}
        found = endpoint.get("addresses")
        ready = get(endpoint, "conditions.ready", default=True)
        if not ready or not found or target.get("namespace") != call.namespace:
            return False
        pod = self._store.kind(PODS).get(Key(call.namespace, str(target.get("name") or "")))
        return pod is not None and found[0] in (
            one.get("ip") for one in get(pod, "status.podIPs", ())
        )


def _proxyable(text: str) -> str:
    # Who writes a pod's status must not get at what listens on this machine alone.
    address = addresses.parse_sloppy(text)
    if address is None or not addresses.is_global_unicast(address):
        raise BadRequestError("address not allowed")
    return text


def _port_number(endpoint_slice: Obj, name: str) -> str:
    ports = (p for p in get(endpoint_slice, "ports", ()) if (p.get("name") or "") == name)
    port = next(ports, None)
    return str(port.get("port")) if port else ""


def _service_port(ports: Sequence[Obj], wanted: str) -> Obj | None:
    if not wanted:
        return ports[0] if len(ports) == 1 else None
    return next((p for p in ports if wanted in (p.get("name"), str(p.get("port")))), None)


def _split_name(name: str) -> tuple[str, str, str]:
    """Split `https:name:port`, `name:port` or `name`."""
    parts = name.split(":")
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    if len(parts) == 2:
        return "", parts[0], parts[1]
    return "", name, ""


def _plain_name(call: Call) -> str:
    if call.subresource != "proxy":
        return call.name
    if call.resource is SERVICES or call.resource is PODS:
        return _split_name(call.name)[1]
    return call.name.partition(":")[0]


def _first_port(pod: Obj) -> int:
    for container in get(pod, "spec.containers", ()):
        for port in container.get("ports", ()):
            return int(port["containerPort"])
    return 80


def _container(pod: Obj, wanted: str, subresource: str) -> str:
    """Return the container that is meant; raises where that is not clear."""
    containers = [c["name"] for c in get(pod, "spec.containers", ())]
    inits = [c["name"] for c in get(pod, "spec.initContainers", ())]
    ephemeral = [c["name"] for c in get(pod, "spec.ephemeralContainers", ())]
    name = pod["metadata"]["name"]
    if wanted:
        if wanted not in (*containers, *inits, *ephemeral):
            raise BadRequestError(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(containers) == 1 or subresource == "portforward":
        return str(containers[0])
    message = f"a container name must be specified for pod {name}, choose one of: "
    message += f"[{' '.join(containers)}]"
    if inits:
        message += f" or one of the init containers: [{' '.join(inits)}]"
    raise BadRequestError(message)


def _check_started(pod: Obj, container: str) -> None:
    """Refuse logs of a container that has not begun, in the kubelet's words."""
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for status in get(pod, f"status.{field}", ()):
            if status["name"] == container:
                waiting = get(status, "state.waiting")
                if waiting is not None and not get(status, "lastState.terminated"):
                    reason = waiting.get("reason", "")
                    raise BadRequestError(
                        f'container "{container}" in pod "{pod["metadata"]["name"]}" is waiting '
                        "to start: " + (waiting.get("message") or reason)
                    )
                return


def _flags(subresource: str, pairs: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    """Return the query as the kubelet reads it: its own names for streams and ports, 1 for true."""
    if subresource == "portforward":
        return [("port", str(port)) for port in ports_of(pairs)]
    if subresource == "log":
        return pairs
    names = {"stdin": "input", "stdout": "output", "stderr": "error"}
    flags = []
    for key, value in pairs:
        if key in ("stdin", "stdout", "stderr", "tty"):
            if value.lower() in ("true", "1"):
                flags.append((names.get(key, key), "1"))
        else:
            flags.append((key, value))
    return flags


def node_address(node: Obj) -> str | None:
    """Return the address of a node's kubelet, in upstream's order of preference."""
    addresses: Mapping[str, str] = {
        address["type"]: address["address"]
        for address in reversed(get(node, "status.addresses", ()))
    }
    for kind in ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS"):
        if kind in addresses:
            return addresses[kind]
    return None


def kubelet_base(node: Obj) -> str:
    """Return the URL of a node's kubelet; raises ServiceUnavailableError where it has none."""
    address = node_address(node)
    if address is None:
        name = node["metadata"]["name"]
        raise ServiceUnavailableError(f"no preferred addresses found; node {name!r}")
    port = get(node, "status.daemonEndpoints.kubeletEndpoint.Port", KUBELET_PORT)
    return f"https://{_bracketed(address)}:{port}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
