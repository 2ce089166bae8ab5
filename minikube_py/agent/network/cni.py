"""The CNI configuration of a node: bridge, host-local addresses, portmap and bandwidth.

The runtime reads it from a folder of its own and is ready for pods once it is there, so it is
written last, when the kernel side stands. Masquerading is not left to the bridge plugin
(`ipMasq`), which would also hide pods from pods of other nodes: see masquerade.py.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, write_atomic

BIN_DIRS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
FOREIGN_CONF, FOREIGN_BIN = Path("/etc/cni/net.d"), Path("/opt/cni/bin")
"""Where other programs that connect pods put their configuration and plugins."""
PLUGINS = ("bridge", "host-local", "portmap", "bandwidth", "loopback")
CNI_VERSION = "1.0.0"
FILE_NAME = "10-kpy.conflist"


@dataclass(frozen=True, kw_only=True)
class BridgeNetwork:
    """What the CNI configuration depends on."""

    pod_cidrs: Sequence[str]
    """One for each address family."""
    bridge: str
    mtu: int
    """Of the pods' interfaces; 0 leaves it to the kernel."""
    state_dir: Path
    """Where host-local keeps which addresses are given out."""


def find_plugins(folders: Sequence[Path] = BIN_DIRS) -> Path:
    """Return the folder that holds the CNI plugins.

    Raises:
        StartError: no folder holds all that are needed; names the package.

    """
    for folder in folders:
        if all((folder / plugin).exists() for plugin in PLUGINS):
            return folder
    names = " or ".join(map(str, folders))
    raise StartError(
        f"the CNI plugins {', '.join(PLUGINS)} are not in {names}; "
        "install the package containernetworking-plugins"
    )


def conflist(network: BridgeNetwork) -> dict[str, Any]:
    """Return the configuration; pure."""
    families = {ipaddress.ip_network(cidr).version for cidr in network.pod_cidrs}
    anywhere = {4: "0.0.0.0/0", 6: "::/0"}
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": network.bridge,
        "isGateway": True,
        "ipMasq": False,
        # A pod that calls a service may be given itself: its frames come back on the same port.
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(network.state_dir),
            "ranges": [[{"subnet": cidr}] for cidr in network.pod_cidrs],
            "routes": [{"dst": anywhere[family]} for family in sorted(families)],
        },
    }
    if network.mtu:
        bridge["mtu"] = network.mtu
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    # Shapes the traffic of pods with kubernetes.io/ingress-bandwidth or egress-bandwidth, which
    # the runtime hands over as this capability; of others it leaves everything as it is.
    bandwidth = {"type": "bandwidth", "capabilities": {"bandwidth": True}}
    return {"cniVersion": CNI_VERSION, "name": "kpy", "plugins": [bridge, portmap, bandwidth]}


def write_config(conf_dir: Path, network: BridgeNetwork) -> None:
    """Write the configuration where it differs from what is there."""
    make_dir(network.state_dir)
    make_dir(conf_dir)
    data = orjson.dumps(conflist(network), option=orjson.OPT_INDENT_2)
    path = conf_dir / FILE_NAME
    if not path.exists() or path.read_bytes() != data:
        write_atomic(path, data)


def gateway(cidr: str) -> str:
    """Return the bridge's address with its prefix: the first of the node's podCIDR."""
    network = ipaddress.ip_network(cidr)
    return f"{network[1]}/{network.prefixlen}"
