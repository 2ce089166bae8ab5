"""How much of the node's swap a container may use: pure but for two looks at the kernel's trees.

`NoSwap`: none. `LimitedSwap`: a burstable container that asks for memory, and for less than its
limit, has the part of the swap that its request is of the memory; only where version 2 of cgroups
holds the controllers. The rules are those of upstream's swapConfigurationHelper.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.qos import is_critical, qos_class
from minikube_py.api import quantity
from minikube_py.api.object import Obj, get

NONE, LIMITED = "NoSwap", "LimitedSwap"
BEHAVIORS = ("", NONE, LIMITED)
"""What `--memory-swap-behavior` may be; "" is NoSwap."""
SWAPS = Path("/proc/swaps")


class SwapError(Exception):
    """The node has swap and is not to run with it."""


@dataclass(frozen=True)
class Swap:
    """The swap of a node, and who may use it."""

    total_bytes: int = 0
    behavior: str = NONE
    unified: bool = False
    """Whether version 2 of cgroups holds the controllers."""

    def resources(self, pod: Obj, container: Obj, memory_bytes: int) -> dict[str, Any]:
        """Return the part of the LinuxContainerResources that is about swap, for so much memory.

        Where there is no swap nothing has to be forbidden.
        """
        if not self.total_bytes:
            return {}
        amount = self._amount(pod, container, memory_bytes)
        if self.unified:
            return {"unified": {"memory.swap.max": str(amount)}}
        # In version 1 the limit is that of memory and swap together.
        limit = quantity.value(get(container, "resources.limits.memory", "0"))
        return {"memory_swap_limit_in_bytes": limit} if limit else {}

    def _amount(self, pod: Obj, container: Obj, memory_bytes: int) -> int:
        if self.behavior != LIMITED or not self.unified or is_critical(pod):
            return 0
        request = quantity.value(get(container, "resources.requests.memory", "0"))
        limit = quantity.value(get(container, "resources.limits.memory", "0"))
        if qos_class(pod) != "Burstable" or not request or request == limit:
            return 0
        return int(request / memory_bytes * self.total_bytes)


NO_SWAP = Swap()


def check(*, fail_on_swap: bool, swaps: Path = SWAPS) -> None:
    """Refuse to run on a node with swap where that is not wanted; raises SwapError.

    What is compressed in memory or on a temporary file system is no swap to the kubelet either.
    """
    if not fail_on_swap:
        return
    try:
        used = [line.split()[0] for line in swaps.read_text().splitlines()[1:] if line.strip()]
    except OSError:
        return
    if used:
        raise SwapError(
            "running with swap on is not supported, please disable swap or leave out --fail-swap-on"
            f" ({', '.join(used)})"
        )
