"""`kpy check`: what this machine lacks, with the remedy beside each line.

`kpy server` and `kpy agent` ask the same list before they make anything, so that a node never
stops half made for want of a package.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from minikube_py.lib.errors import StartError

PROGRAMS = (
    (("containerd",), "containerd", "runs containers"),
    (("runc", "crun"), "runc", "starts them"),
    (("nft",), "nftables", "programs services"),
)
"""Programs of which one is needed, the Debian package that has it, and what it does here."""
CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
CNI_PLUGINS = ("bridge", "host-local", "portmap", "loopback")
CONTROLLERS = ("cpu", "memory", "pids")
RECOVERY = Path("var/lib/kpy/server/recovery.json")
"""What a server leaves that recovered its datastore (`server/snapshots/recovery.py`)."""
DISK_BYTES_MIN = 2 << 30
"""Less than this fills up with the first images."""


@dataclass(frozen=True)
class Finding:
    """One thing that a node needs."""

    name: str
    detail: str
    """What was found, or what to do where it is not there."""
    is_there: bool
    is_required: bool = True

    def line(self) -> str:
        """Return the finding as `kpy check` prints it."""
        mark = "ok  " if self.is_there else ("LACK" if self.is_required else "warn")
        return f"{mark} {self.name}: {self.detail}"


def examine(root: Path = Path("/"), *, own_runtime: bool = True) -> Iterator[Finding]:
    """Look at all that a node needs; `root` is for tests.

    With `own_runtime` False a CRI runtime is there already, and containerd is not needed.
    """
    is_root = os.geteuid() == 0
    yield Finding("rights", "root" if is_root else "run as root: sudo kpy ...", is_there=is_root)
    for programs, package, purpose in PROGRAMS:
        if own_runtime or package == "nftables":
            yield _program(programs, package, purpose)
    yield _plugins(root)
    yield _overlay(root)
    yield from _switches(root)
    yield _controllers(root)
    yield _disk(root)
    yield from _recovery(root)


def _program(programs: Sequence[str], package: str, purpose: str) -> Finding:
    path = next(filter(None, map(shutil.which, programs)), None)
    remedy = f"{purpose}; install it: apt-get install {package}"
    return Finding(programs[0], path or remedy, is_there=path is not None)


def _plugins(root: Path) -> Finding:
    folders = [root / str(folder).lstrip("/") for folder in CNI_FOLDERS]
    for folder in folders:
        if all((folder / plugin).exists() for plugin in CNI_PLUGINS):
            return Finding("CNI plugins", str(folder), is_there=True)
    remedy = "connect pods; install them: apt-get install containernetworking-plugins"
    return Finding("CNI plugins", remedy, is_there=False)


def _overlay(root: Path) -> Finding:
    try:
        known = (root / "proc/filesystems").read_text().split()
    except OSError:
        known = []
    there = "overlay" in known
    return Finding("overlayfs", "in the kernel" if there else "modprobe overlay", is_there=there)


def _switches(root: Path) -> Iterator[Finding]:
    there = (root / "proc/sys/net/bridge/bridge-nf-call-iptables").exists()
    detail = "in the kernel" if there else "modprobe br_netfilter"
    yield Finding("bridge netfilter", detail, is_there=there, is_required=False)


def _controllers(root: Path) -> Finding:
    """Version 2 lists its controllers in one file, version 1 has a folder for each."""
    folder = root / "sys/fs/cgroup"
    try:
        found = (folder / "cgroup.controllers").read_text().split()
    except OSError:
        found = [name for name in CONTROLLERS if (folder / name).is_dir()]
    missing = [name for name in CONTROLLERS if name not in found]
    remedy = f"{', '.join(missing)} missing; enable them on the kernel's command line"
    detail = remedy if missing else " ".join(CONTROLLERS)
    return Finding("cgroup controllers", detail, is_there=not missing)


def _disk(root: Path) -> Finding:
    folder = root / "var/lib"
    free = shutil.disk_usage(folder if folder.exists() else root).free
    text = f"{free / (1 << 30):.1f} GiB free"
    is_enough = free >= DISK_BYTES_MIN
    detail = text if is_enough else f"{text}; make room"
    return Finding("disk", detail, is_there=is_enough, is_required=False)


def _recovery(root: Path) -> Iterator[Finding]:
    """Say that a damaged datastore was replaced by a snapshot, for as long as its record stands."""
    record = root / RECOVERY
    try:
        told = json.loads(record.read_text())
    except (OSError, ValueError):
        return
    detail = (
        f"was damaged at {told.get('at')} and replaced by snapshot {told.get('snapshot')} of"
        f" {told.get('created')}; what was written later is lost. Remove {record} when you know"
    )
    yield Finding("datastore", detail, is_there=False, is_required=False)


def require(findings: Iterable[Finding]) -> None:
    """Make sure that all is there that has to be.

    Raises:
        StartError: names the first thing that is not, with its remedy.

    """
    missing = next((f for f in findings if f.is_required and not f.is_there), None)
    if missing is not None:
        raise StartError(f"this machine has no {missing.name}: {missing.detail}")


def report(findings: Sequence[Finding]) -> int:
    """Print the findings; return the exit status."""
    for finding in findings:
        click.echo(finding.line())
    return int(any(f.is_required and not f.is_there for f in findings))


@click.group("check", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Say what this machine lacks to be a node; status 1 where something has to be there."""
    if context.invoked_subcommand is None:
        sys.exit(report(tuple(examine())))


@command.command("network")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/kpy"),
    show_default=True,
    help="folder that holds all state",
)
def network(data_dir: Path) -> None:
    """Walk from a pod of this node to services, DNS and other nodes; say which hop fails, and why.

    Status 1 where one does. It needs root, and changes nothing that stays.
    """
    from minikube_py.agent.diagnosis.run import check  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.agent.diagnosis.walk import table  # noqa: PLC0415

    if os.geteuid() != 0:
        raise StartError("a walk through the network needs root; run it with sudo")
    hops = tuple(check(data_dir.absolute()))
    for line in table(hops):
        click.echo(line)
    sys.exit(int(any(hop.state == "FAIL" for hop in hops)))
