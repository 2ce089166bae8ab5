"""Where the pods of this node are now, and what EndpointSlices would say if a server knew.

While no server answers nobody writes EndpointSlices, but pods that begin anew have new addresses:
after a power cut all of them. So the node puts its own pods right in those that it remembers.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from minikube_py.api.object import Obj, condition_of, get


class Live(NamedTuple):
    """A pod as its node sees it."""

    ips: tuple[str, ...]
    is_ready: bool


class LivePods:
    """The pods of this node by uid, as the kubelet would tell of them."""

    def __init__(self) -> None:
        self._pods: dict[str, Live] = {}
        self._followers: list[asyncio.Event] = []

    def note(self, uid: str, status: Mapping[str, Any] | None) -> None:
        """Take a pod's newest status, None where it is gone."""
        before = self._pods.get(uid)
        if status is None:
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = live(status)
        if before != self._pods.get(uid):
            for event in self._followers:
                event.set()

    @contextlib.contextmanager
    def following(self) -> Iterator[asyncio.Event]:
        """Have an event that is set at every change."""
        event = asyncio.Event()
        self._followers.append(event)
        try:
            yield event
        finally:
            self._followers.remove(event)

    def put_right(self, endpoint_slice: Obj) -> Obj:
        """Return a slice with the pods of this node as they are now."""
        endpoints = endpoint_slice.get("endpoints") or ()
        right = [self._endpoint(one, endpoint_slice.get("addressType")) for one in endpoints]
        if all(new is old for new, old in zip(right, endpoints, strict=True)):
            return endpoint_slice
        return {**endpoint_slice, "endpoints": right}

    def _endpoint(self, endpoint: Obj, family: Any) -> Obj:
        pod = self._pods.get(get(endpoint, "targetRef.uid", ""))
        if pod is None:
            return endpoint
        conditions = endpoint.get("conditions") or {}
        ips = [ip for ip in pod.ips if family == f"IPv{ipaddress.ip_address(ip).version}"]
        is_ready = pod.is_ready and bool(ips)
        return {
            **endpoint,
            "addresses": ips[:1] or endpoint["addresses"],
            "conditions": {**conditions, "ready": is_ready, "serving": is_ready},
        }


def live(status: Mapping[str, Any]) -> Live:
    """Return what endpoints say of a pod with a status."""
    ready = condition_of({"status": status}, "Ready")
    ips = tuple(entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip"))
    return Live(ips, ready is not None and ready["status"] == "True")
