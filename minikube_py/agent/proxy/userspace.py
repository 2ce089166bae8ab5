"""kube-proxy without a packet filter: this process listens for services and carries the traffic.

Addresses of services are made local to the node, on `lo`, as that of cluster DNS is. Endpoints see
the node as their client, and services end while kpy is down.
"""

import asyncio
import logging
from collections.abc import Sequence

from minikube_py.agent.network import kernel
from minikube_py.agent.nft import PacketFilterError
from minikube_py.agent.proxy import rules
from minikube_py.agent.proxy.chains import IPV4
from minikube_py.agent.proxy.forwarding import Choice, TcpListener, UdpListener
from minikube_py.agent.proxy.fronts import Fronts, Served
from minikube_py.agent.proxy.rules import DROP, Front, ProxyConfig
from minikube_py.api.object import Key, Obj

log = logging.getLogger(__name__)


class ListenError(PacketFilterError):
    """A front could not be listened on; all others are."""

    is_partial = True


class UserspaceRules:
    """The listeners of one address family."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._fronts = Fronts()
        self._listeners: dict[Front, TcpListener | UdpListener] = {}
        self._addresses: set[str] = set()
        self.is_full_needed = False
        self.is_suspect = False

    def set_config(self, config: ProxyConfig) -> None:
        """Take what services are derived with from now on."""
        self._config = config

    def set_service(self, key: Key, service: Obj | None, slices: Sequence[Obj]) -> None:
        """Derive a service anew; None takes it away."""
        elements = rules.derive(service, slices, self._config) if service is not None else ()
        self._fronts.update(key, elements)

    async def apply(self) -> None:
        """Listen for what is served, and for nothing else.

        Raises:
            ListenError: some fronts could not be listened on; the next call tries again.

        """
        current = self._fronts.current()
        wanted = {front: served for front, served in current.items() if served.chain is not None}
        # Where a service has no endpoint the kernel refuses, as nobody listens on the address.
        told = {front.address for front, served in current.items() if served.verdict != DROP}
        gone = self._listeners.keys() - wanted.keys()
        for front in gone:
            self._listeners.pop(front).close()
        if gone:
            await asyncio.sleep(0)  # those of datagrams end with the loop's next turn
        await self._set_addresses(told - {""})
        refused = []
        for front, served in wanted.items():
            try:
                await self._listen(front, served)
            except OSError as error:
                refused.append(f"{front.key}: {error.strerror or error}")
        if refused:
            raise ListenError("; ".join(refused))

    async def _listen(self, front: Front, served: Served) -> None:
        listener = self._listeners.get(front)
        if listener is not None:
            changed = listener.choice.served != served
            listener.choice.served = served
            if changed and isinstance(listener, UdpListener):
                listener.forget()
            return
        now = asyncio.get_running_loop().time
        choice = Choice(served, self._config.cluster_cidr, now)
        made = TcpListener(choice) if front.protocol == "TCP" else UdpListener(choice)
        await made.open(front, "0.0.0.0" if self._config.family is IPV4 else "::")
        self._listeners[front] = made

    async def _set_addresses(self, wanted: set[str]) -> None:
        for address in sorted(wanted - self._addresses):
            await asyncio.to_thread(kernel.ensure_local_address, address)
            self._addresses.add(address)
        for address in sorted(self._addresses - wanted):
            self._addresses.discard(address)
            try:
                await asyncio.to_thread(kernel.remove_address, address)
            except OSError as error:
                log.info("address not removed address=%s error=%s", address, error)

    async def close(self) -> None:
        """Listen no more: a new start would find the ports taken."""
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
