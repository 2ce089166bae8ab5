"""What a connection asks for, as the object that admission sees: PodExecOptions and its kin.

The query of the request in the form of the kind, as apiserver decodes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.api.errors import BadRequestError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver.request import is_true

PORT_MAX = 65535
Pairs = Sequence[tuple[str, str]]
"""The parameters of a request in their order; one may stand several times."""


def options_of(resource: Resource, subresource: str, query: Pairs, path: str) -> Obj:
    """Return the options of a connection; `path` is what stands behind a proxy's own."""
    group, version, kind = resource.kind_at(subresource)
    head: Obj = {"kind": kind, "apiVersion": f"{group}/{version}" if group else version}
    if subresource == "proxy":
        return {**head, **({"path": path} if path else {})}
    if subresource == "portforward":
        ports = ports_of(query)
        return {**head, **({"ports": ports} if ports else {})}
    return {**head, **_streams(query)}


def ports_of(query: Pairs) -> list[int]:
    """Return which ports are to be forwarded: `ports=80&ports=81`, or `ports=80,81`."""
    texts = [text for key, value in query if key == "ports" for text in value.split(",")]
    for text in texts:
        if not (text.isascii() and text.isdecimal() and int(text) <= PORT_MAX):
            why = "value out of range" if text.isdecimal() else "invalid syntax"
            raise BadRequestError(
                f'cannot convert to []int32: strconv.ParseUint: parsing "{text}": {why}'
            )
    return [int(text) for text in texts]


def _streams(query: Pairs) -> Mapping[str, Any]:
    first = dict(reversed(query))
    flags = {key: is_true(first.get(key)) for key in ("stdin", "stdout", "stderr", "tty")}
    command = [value for key, value in query if key == "command"]
    texts = {"container": first.get("container", ""), "command": command}
    return {key: value for key, value in {**flags, **texts}.items() if value}
