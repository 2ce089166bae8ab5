"""What a node leaves on its machine, found by looking: each kind finds its own and removes it.

Nothing is believed and everything is looked for, so a reset that was cut short goes on where it
was, and the same look afterwards proves that nothing is left. What is ours is told by marks that
only we make: the folder in a command line or a mount, our names of tables, our protocol number of
routes, our label of addresses.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent.kubelet import cgroups
from minikube_py.agent.kubelet.shutdown.logind import DROP_IN
from minikube_py.agent.kubelet.volumes.mounts import points_below, unmount
from minikube_py.agent.network import kernel
from minikube_py.agent.network.routes import LINKS
from minikube_py.agent.proxy import iptables

CNI_RESULTS = Path("/var/lib/cni/results")
NETWORK = "kpy"
"""The name of the pod network in CNI's own records."""
POD_LOGS = Path("/var/log/pods")
HOST_PORTS = "CNI-HOSTPORT-"
TABLES = re.compile(r"table (\S+ kpy-\S+)")


@dataclass(frozen=True)
class Kind:
    """One kind of trace."""

    name: str
    find: Callable[[Path], Sequence[str]]
    """data folder -> what there is, in the order of removal"""
    remove: Callable[[str], None]
    """Raises OSError or subprocess.SubprocessError where it cannot be removed."""


# --- processes ------------------------------------------------------------------------------------


def processes(data_dir: Path) -> list[str]:
    """Return the processes of pods, their shims and containerd: those that act come first."""
    socket = os.fsencode(data_dir / "agent" / "containerd")
    found: dict[int, str] = {}
    uids = set(_pod_uids(data_dir))
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if not command:
                continue
            if socket in command and b"containerd" in command.split(b"\0")[0]:
                found[int(folder.name)] = "0"
            elif uids & set(_uids_in((folder / "cgroup").read_text())):
                found[int(folder.name)] = "1"
    return [str(pid) for pid, _ in sorted(found.items(), key=lambda item: (item[1], item[0]))]


def _uids_in(text: str) -> Iterator[str]:
    yield from re.findall(rf"{cgroups.ROOT}/(?:\w+/)?pod([0-9a-f-]+)", text)


def _pod_uids(data_dir: Path) -> Iterator[str]:
    """Yield the pods that have a folder here."""
    folder = data_dir / "agent" / "kubelet" / "pods"
    if folder.is_dir():
        yield from (entry.name for entry in folder.iterdir())


def end_process(pid: str) -> None:
    """Kill a process and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(int(pid))
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.waitid(os.P_PIDFD, handle, os.WEXITED) if _is_child(pid) else _wait(handle)
        finally:
            os.close(handle)


def _is_child(pid: str) -> bool:
    with contextlib.suppress(OSError):
        return f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text()
    return False


def _wait(handle: int) -> None:
    import select  # noqa: PLC0415

    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll(5000)


# --- files ----------------------------------------------------------------------------------------


def mounts(data_dir: Path) -> list[str]:
    """Return what is mounted below the data folder, deepest first."""
    return [str(path) for path in points_below(data_dir)]


def folders(data_dir: Path) -> list[str]:
    """Return the logs of the pods that have a folder here, then the data folder itself."""
    uids = tuple(f"_{uid}" for uid in _pod_uids(data_dir))
    logs = POD_LOGS.iterdir() if POD_LOGS.is_dir() else ()
    found = sorted(str(path) for path in logs if uids and path.name.endswith(uids))
    return [*found, *([str(data_dir)] if data_dir.exists() else [])]


def remove_folder(path: str) -> None:
    """Remove a folder in which nothing is mounted."""
    if points_below(Path(path)):
        raise OSError(f"something is still mounted below {path}")
    shutil.rmtree(path)


# --- the network ----------------------------------------------------------------------------------


def namespaces(data_dir: Path) -> list[str]:
    """Return the network namespaces of our pods, by CNI's records."""
    found = {str(record.get("netns", "")) for record in _records(data_dir).values()}
    return sorted(netns for netns in found if netns and Path(netns).exists())


def _records(data_dir: Path) -> dict[str, dict[str, object]]:
    """Return CNI's records of the pods that have an address of ours, by file."""
    own, found = set(_sandboxes(data_dir)), {}
    for path in sorted(CNI_RESULTS.glob(f"{NETWORK}-*")) if CNI_RESULTS.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(path.read_text())
            if isinstance(record, dict) and record.get("containerId") in own:
                found[str(path)] = record
    return found


def _sandboxes(data_dir: Path) -> Iterator[str]:
    """Yield the sandboxes to which our pool of addresses has given one; a file is an address."""
    pool = data_dir / "agent" / "cni" / "state"
    for path in sorted(pool.rglob("*")) if pool.is_dir() else ():
        if path.is_file():
            yield from path.read_text(errors="replace").split()[:1]


def remove_namespace(path: str) -> None:
    """Give back the network of a pod; its end of the cable goes with it."""
    with contextlib.suppress(OSError):
        unmount(Path(path))
    Path(path).unlink(missing_ok=True)


def records(data_dir: Path) -> list[str]:
    """Return CNI's records of our pods."""
    return list(_records(data_dir))


def bridges(data_dir: Path) -> list[str]:
    """Return the bridges that our CNI configuration names and that are there."""
    found = set()
    folder = data_dir / "agent" / "cni" / "net.d"
    for path in sorted(folder.glob("*.conflist")) if folder.is_dir() else ():
        with contextlib.suppress(OSError, ValueError):
            plugins = json.loads(path.read_text()).get("plugins", ())
            found |= {str(one["bridge"]) for one in plugins if one.get("bridge")}
    return sorted(filter(kernel.has_link, found))


def links(_: Path) -> list[str]:
    """Return the links by which this node reached the pods of others."""
    return sorted(filter(kernel.has_link, LINKS.values()))


def tables(_: Path) -> list[str]:
    """Return our tables of the packet filter."""
    if shutil.which("nft") is None:
        return []
    return TABLES.findall(_run("nft", "list", "tables"))


def remove_table(name: str) -> None:
    """Delete one table (`inet kpy-proxy`)."""
    _run("nft", "delete", "table", *name.split())


def host_ports(_: Path) -> list[str]:
    """Return the chains of CNI's portmap plugin, where no port of any pod needs them any more."""
    found = []
    for program in ("iptables", "ip6tables"):
        if shutil.which(program) is None:
            continue
        rules = _run(program, "-w", "-t", "nat", "-S").splitlines()
        chains = [line.split()[1] for line in rules if line.startswith("-N CNI-")]
        if not any(chain.startswith("CNI-DN-") for chain in chains):
            found += [f"{program} {chain}" for chain in chains if chain.startswith(HOST_PORTS)]
    return found


def remove_chain(name: str) -> None:
    """Delete a chain of the nat table with all rules that lead to it."""
    program, chain = name.split()
    nat = (program, "-w", "-t", "nat")
    for line in _run(*nat, "-S").splitlines():
        if line.startswith("-A ") and line.endswith(f"-j {chain}"):
            _run(*nat, "-D", *shlex.split(line.removeprefix("-A ")))
    _run(*nat, "-F", chain)
    _run(*nat, "-X", chain)


def service_chains(_: Path) -> list[str]:
    """Return the programs whose tables hold chains of kube-proxy's iptables mode."""
    programs = [name for name in ("iptables", "ip6tables") if shutil.which(f"{name}-save")]
    return [name for name in programs if iptables.known_chains(_run(f"{name}-save"))]


def remove_service_chains(program: str) -> None:
    """Delete the chains and all rules that lead to them."""
    known = iptables.known_chains(_run(f"{program}-save"))
    for table, chain, rule in iptables.JUMPS:
        words = ("-t", table, "-D", chain, *rule.split())
        subprocess.run([program, "-w", *words], check=False, capture_output=True, timeout=30)
    _run(f"{program}-restore", "--noflush", "-w", stdin=iptables.changes(known, {}))


def filters(_: Path) -> list[str]:
    """Return the rules that let packets of pods pass where others forbid forwarding."""
    found = []
    for program in ("iptables", "ip6tables"):
        if shutil.which(program):
            lines = _run(program, "-w", "-S", "FORWARD").splitlines()
            marked = (line for line in lines if kernel.COMMENT in shlex.split(line))
            found += [f"{program} {line}" for line in marked]
    return found


def remove_filter(rule: str) -> None:
    """Delete one rule, as the program itself prints it."""
    program, _, *rest = shlex.split(rule)
    _run(program, "-w", "-D", *rest)


def _run(*command: str, stdin: str = "") -> str:
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=30, input=stdin
    )
    return done.stdout


def cgroup_folders(data_dir: Path) -> list[str]:
    """Return the groups of our pods, and their parents where nobody else uses them."""
    groups = cgroups.detect()
    uids = set(_pod_uids(data_dir))
    pods = groups.pods()
    found = [group for uid, group in sorted(pods.items()) if uid in uids]
    if pods.keys() <= uids:
        top = (
            (cgroups.ROOT,)
            if any(folder.exists() for folder in groups.folders(cgroups.ROOT))
            else ()
        )
        found += top
    return found


def remove_group(group: str) -> None:
    """Remove a group in every tree of the kernel."""
    if not cgroups.detect().remove(group):
        raise OSError(f"processes of {group} are still alive")


def logind_settings(_: Path) -> list[str]:
    """Return the file that has logind wait longer for pods to end."""
    return [str(DROP_IN)] if DROP_IN.exists() else []


KINDS: tuple[Kind, ...] = (
    Kind("process", processes, end_process),
    Kind("mount", mounts, lambda path: unmount(Path(path))),
    Kind("network namespace", namespaces, remove_namespace),
    Kind("CNI record", records, lambda path: Path(path).unlink(missing_ok=True)),
    Kind("route", lambda _: kernel.own_routes(), kernel.remove_route),
    Kind("link", links, kernel.remove_link),
    Kind("bridge", bridges, kernel.remove_link),
    Kind("address", lambda _: kernel.own_addresses(), kernel.remove_address),
    Kind("packet filter table", tables, remove_table),
    Kind("forwarding rule", filters, remove_filter),
    Kind("service chains", service_chains, remove_service_chains),
    Kind("host port chain", host_ports, remove_chain),
    Kind("cgroup", cgroup_folders, remove_group),
    Kind("logind setting", logind_settings, lambda path: Path(path).unlink(missing_ok=True)),
    Kind("folder", folders, remove_folder),
)
"""In the order of removal: what runs, what it holds, where it lies."""
