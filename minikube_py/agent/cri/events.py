"""What happens to containers, as it happens.

containerd 1.6 has no GetContainerEvents, but its own event service listens on the same socket; the
events arrive within two milliseconds. A runtime without that service answers UNIMPLEMENTED, and
the kubelet then relies on its relist alone.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.messages import codec

PATH = "/containerd.services.events.v1.Events/Subscribe"
FILTER = 'namespace==k8s.io,topic~="/tasks/(exit|oom)"'
"""Only what happens to a container by itself; starts, snapshots and images make more noise."""
TOPICS = {"/tasks/exit": "TaskExit", "/tasks/oom": "TaskOOM"}


@dataclass(frozen=True)
class ContainerEvent:
    """One change of a container or sandbox (containerd tells them apart by id only)."""

    kind: str
    """exit or oom."""
    container_id: str
    exit_status: int = 0


async def container_events(connection: Connection) -> AsyncIterator[ContainerEvent]:
    """Yield the exits and memory kills of containers; ends when the runtime goes away."""
    stream = connection.subscribe(
        PATH,
        ("SubscribeRequest", {"filters": [FILTER]}),
        "Envelope",
        (("containerd-namespace", "k8s.io"),),
    )
    async for envelope in stream:
        name = TOPICS.get(envelope.get("topic", ""))
        if name is None:
            continue
        event = codec().decode(name, (envelope.get("event") or {}).get("value", b""))
        container_id = event.get("container_id", "")
        # An exec in a container has an id of its own; its end is no news of the container.
        if event.get("id", container_id) != container_id:
            continue
        yield ContainerEvent(
            name.removeprefix("Task").lower(), container_id, event.get("exit_status", 0)
        )
