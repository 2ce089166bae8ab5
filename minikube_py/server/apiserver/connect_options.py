"""What a connection asks for, as the object that admission sees: PodExecOptions and its kin.

The query of the request in the form of the kind, as apiserver decodes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver.request import is_true

Pairs = Sequence[tuple[str, str]]
"""The parameters of a request in their order; one may stand several times."""


def options_of(resource: Resource, subresource: str, query: Pairs, path: str) -> Obj:
    """Return the options of a connection; `path` is what stands behind a proxy's own."""
    group, version, kind = resource.kind_at(subresource)
    head: Obj = {"kind": kind, "apiVersion": f"{group}/{version}" if group else version}
    if subresource == "proxy":
        return {**head, **({"path": path} if path else {})}
    if subresource == "portforward":
        ports = [int(value) for key, value in query if key == "ports" and value.isdecimal()]
        return {**head, **({"ports": ports} if ports else {})}
    return {**head, **_streams(query)}


def _streams(query: Pairs) -> Mapping[str, Any]:
    first = dict(reversed(query))
    flags = {key: is_true(first.get(key, "")) for key in ("stdin", "stdout", "stderr", "tty")}
    command = [value for key, value in query if key == "command"]
    texts = {"container": first.get("container", ""), "command": command}
    return {key: value for key, value in {**flags, **texts}.items() if value}
