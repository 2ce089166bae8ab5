"""containerd's own books: what it will look after, whatever becomes of the process itself.

CRI lists a sandbox only when it stands. containerd writes it down before it makes anything for it
and strikes it out after everything of it is gone, so what does not stand in here is nobody's.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from minikube_py.agent.cri.connection import Connection

CONTAINERS = "/containerd.services.containers.v1.Containers"
NAMESPACE = ("containerd-namespace", "k8s.io")


class Records:
    """The books of one containerd; every call raises a child of CriError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def containers(self) -> dict[str, bytes]:
        """Return the sandboxes and containers that are written down: id -> specification."""
        answer = await self._connection.ask(
            f"{CONTAINERS}/List",
            ("ContainerRecordsRequest", {}),
            "ContainerRecordsResponse",
            (NAMESPACE,),
        )
        return {
            one.get("id", ""): (one.get("spec") or {}).get("value", b"")
            for one in answer.get("containers") or ()
        }


def network_namespaces(spec: bytes) -> Iterator[Path]:
    """Yield the network namespace that a specification (OCI runtime-spec) names, if any: pure.

    Raises:
        ValueError: it is none.

    """
    linux = (json.loads(spec) if spec else {}).get("linux") or {}
    for one in linux.get("namespaces") or ():
        if one.get("type") == "network" and one.get("path"):
            yield Path(one["path"])
