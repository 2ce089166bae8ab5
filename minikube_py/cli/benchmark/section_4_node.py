"""4: the node."""

import ssl
from pathlib import Path

from minikube_py.cli.benchmark.machine import (
    READ_ONLY_PORT,
    Item,
    Machine,
    Result,
    absent,
    files_below,
    judged,
    owners,
    passed,
)

NO_FILE = "there is no such file: the kubelet runs in kpy's process"
OLD_TLS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)


def _credentials(machine: Machine) -> list[Path]:
    return files_below(machine.agent / "tls", ".key")


def _authorities(machine: Machine) -> list[Path]:
    return [machine.agent / "tls" / f"{name}-ca.crt" for name in ("cluster", "client")]


def _with_node(machine: Machine) -> bool:
    return machine.is_open(machine.kubelet_port)


def _kubelet_refuses(machine: Machine) -> Result:
    if not _with_node(machine):
        return Result("N/A", "no kubelet listens on this machine")
    status, _ = machine.ask("/pods", port=machine.kubelet_port)
    return judged(
        good=status in (401, 403), why=f"/pods without credentials was answered with {status}"
    )


def _no_read_only_port(machine: Machine) -> Result:
    is_open = machine.is_open(READ_ONLY_PORT)
    return judged(good=not is_open, why=f"port {READ_ONLY_PORT} is {'open' if is_open else 'shut'}")


def _tls(machine: Machine) -> Result:
    if not _with_node(machine):
        return Result("N/A", "no kubelet listens on this machine")
    old = [version.name for version in OLD_TLS if machine.takes_tls(version, machine.kubelet_port)]
    return judged(good=not old, why=f"older than TLS 1.2: {old or 'refused'}")


def _serving(machine: Machine) -> Result:
    return machine.modes([machine.agent / "tls" / "kubelet-serving.key"], 0o600)


ITEMS = (
    Item("4.1.1", "Kubelet's service file: mode", absent(NO_FILE)),
    Item("4.1.2", "Kubelet's service file: owner", absent(NO_FILE)),
    Item("4.1.3", "Proxy's credentials: mode 0600", lambda m: m.modes(_credentials(m), 0o600)),
    Item("4.1.4", "Proxy's credentials: owner", lambda m: m.owned(_credentials(m))),
    Item("4.1.5", "Kubelet's credentials: mode 0600", lambda m: m.modes(_credentials(m), 0o600)),
    Item("4.1.6", "Kubelet's credentials: owner", lambda m: m.owned(_credentials(m))),
    Item("4.1.7", "Authorities' files: mode 0644", lambda m: m.modes(_authorities(m), 0o644)),
    Item("4.1.8", "Authorities' files: owner", lambda m: m.owned(_authorities(m))),
    Item("4.1.9", "Kubelet's configuration: mode", absent(NO_FILE)),
    Item("4.1.10", "Kubelet's configuration: owner", absent(NO_FILE)),
    Item("4.2.1", "No anonymous requests to the kubelet", _kubelet_refuses),
    Item("4.2.2", "The kubelet asks the API server what is allowed", _kubelet_refuses),
    Item("4.2.3", "The kubelet verifies client certificates", _kubelet_refuses),
    Item("4.2.4", "No read-only port", _no_read_only_port),
    Item(
        "4.2.5",
        "Idle streams end",
        owners("a stream ends with its connection; nothing ends one that idles"),
    ),
    Item(
        "4.2.6",
        "The node's packet filter is kept",
        lambda _: passed("kpy keeps a table of its own in nftables"),
    ),
    Item(
        "4.2.7",
        "The node's name is the host's",
        lambda m: judged(good=True, why=m.node.node_name or "the host's name"),
    ),
    Item("4.2.8", "Events are not lost", absent("there is no --event-qps")),
    Item("4.2.9", "The kubelet serves with a certificate", _serving),
    Item(
        "4.2.10",
        "Client certificates are renewed",
        lambda _: passed("while kpy runs, when 90 days are left"),
    ),
    Item(
        "4.2.11",
        "Serving certificates are renewed",
        lambda _: passed("while kpy runs, when 90 days are left"),
    ),
    Item("4.2.12", "Only strong ciphers", _tls),
    Item("4.2.13", "Pods have a limit of processes", owners("none is set; the kernel's holds")),
    Item(
        "4.2.14",
        "Containers have a seccomp profile",
        owners("one that names none runs without, as upstream's default is; see 5.7.2"),
    ),
    Item("4.3.1", "The proxy's metrics are on loopback", absent("it listens on no port")),
)
