"""containerd as a child that outlives its parent: configured, started, watched and found again.

The pods of a node live in their shims, not in containerd and not in kpy: both may be killed and
pods go on. containerd itself runs in a session of its own, so a signal meant for kpy does not
reach it, and its pid is kept in a file beside its socket. A start of kpy finds the running
containerd by that file and takes it over where it has the configuration that would be written now;
otherwise it is replaced, which takes a quarter of a second and touches no container.

A clean stop of kpy leaves containerd running while pods run, because it is containerd that carries
what they print into their log files; with no pod left it is stopped as well.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.agent.orphans.run import Orphans
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic
from minikube_py.lib.pids import find_processes, gone

log = logging.getLogger(__name__)
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
RETRY_SECONDS = 0.02
SOCKET_PATH_MAX = 106
"""Bytes that the kernel takes in the name of a socket, less the final zero."""
LOG_BYTES_MAX = 16 << 20
SWEPT = "containerd.swept"
"""Names the process after whose start orphans were removed: kpy may die before it comes to that."""
CAP_SYS_RESOURCE = 24
"""Bit of the capability that lowers oom scores."""
OVERLAYFS_MAGIC = 0x794C7630
"""Type of a folder that lies on overlayfs (statfs), where no second overlay can be stacked."""

CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
oom_score = {oom_score}
disabled_plugins = [{disabled}]

[grpc]
  address = "{folder}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  netns_mounts_under_state_dir = true
  restrict_oom_score_adj = {restrict_oom}
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  enable_cdi = true
  cdi_spec_dirs = ["/etc/cdi", "/var/run/cdi"]

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_bin_dir}"
    conf_dir = "{cni_conf_dir}"
    max_conf_num = 1

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{folder}/certs.d"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "{default}"
"""
RUNTIME = """
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}.options]
        BinaryName = "{path}"
        SystemdCgroup = false
"""
RUNTIMES = ("runc", "crun")
"""Those that are installed are handlers of these names; the first is what pods get unasked."""
DISABLED = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)
"""Plugins that look for what is not there and complain at every start."""


@dataclass(frozen=True, kw_only=True)
class ContainerdConfig:
    """What containerd is told; everything else follows from the machine."""

    folder: Path
    """Holds its state, its socket, its log and its configuration."""
    pause_image: str
    cni_conf_dir: Path
    cni_bin_dir: Path = Path("/usr/lib/cni")

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / "containerd.sock"

    def text(self) -> str:
        """Return the configuration file."""
        may_lower = has_capability(CAP_SYS_RESOURCE)
        runtimes = installed_runtimes()
        text = CONFIG.format(
            folder=self.folder,
            # Lowering needs the capability; without it runc fails to start any sandbox.
            oom_score=-999 if may_lower else 0,
            restrict_oom="false" if may_lower else "true",
            disabled=", ".join(f'"{plugin}"' for plugin in DISABLED),
            pause_image=self.pause_image,
            cni_bin_dir=self.cni_bin_dir,
            cni_conf_dir=self.cni_conf_dir,
            snapshotter="native" if is_overlay(self.folder) else "overlayfs",
            default=next(iter(runtimes), RUNTIMES[0]),
        )
        return text + "".join(RUNTIME.format(name=n, path=path) for n, path in runtimes.items())


def installed_runtimes() -> dict[str, str]:
    """Return the programs that start containers, by name, the preferred one first."""
    found = ((name, shutil.which(name)) for name in RUNTIMES)
    return {name: path for name, path in found if path}


def has_capability(bit: int) -> bool:
    """Tell whether this process may use a capability."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> bit & 1)
    return False


def is_overlay(folder: Path) -> bool:
    """Tell whether a folder lies on overlayfs, as inside another container."""
    best, kind = "", ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point, rest = fields[4], fields[fields.index("-") + 1 :]
        inside = folder == Path(point) or Path(point) in folder.parents
        if inside and len(point) >= len(best):
            best, kind = point, rest[0]
    return kind == "overlay"


class Containerd:
    """The container runtime of this node: `start` once, then `supervise` while kpy runs."""

    def __init__(self, config: ContainerdConfig) -> None:
        self._config = config
        self._folder = config.folder
        self._pid = 0
        self._child: subprocess.Popen[bytes] | None = None
        self.orphans = Orphans(config.folder, config.socket)

    @property
    def endpoint(self) -> str:
        """Where the kubelet reaches it."""
        return f"unix://{self._config.socket}"

    @property
    def pid(self) -> int:
        """The process that runs now, 0 where none does."""
        return self._pid

    async def start(self) -> None:
        """Take over the containerd that runs, or start one; returns when it answers.

        Raises:
            StartError: it is not installed, or does not start.

        """
        self._prepare()
        text = self._config.text().encode()
        config_path = self._folder / "config.toml"
        same = read_if_there(config_path) == text
        self._pid = self._find()
        if self._pid and not (same and self._has_swept()):
            log.info("replacing containerd pid=%d same configuration=%s", self._pid, same)
            await self._end()
        if not same:
            write_atomic(config_path, text)
        if self._pid:
            log.info("containerd found running pid=%d", self._pid)
            await self._wait_ready()
        else:
            await self._run()

    async def _run(self) -> None:
        """Start containerd; before and after, remove what the one before it left half made."""
        before = await self.orphans.prepare()
        self._launch()
        await self._wait_ready()
        try:
            await self.orphans.remove(before)
        except CriError as error:
            log.warning("orphans not removed error=%s", error)
            return  # the next kpy starts containerd anew
        write_atomic(self._folder / SWEPT, str(self._pid).encode())

    def _has_swept(self) -> bool:
        """Tell whether all was removed that the one before this containerd left half made."""
        return read_if_there(self._folder / SWEPT) == str(self._pid).encode()

    def _prepare(self) -> None:
        for program, is_there in (
            ("containerd", bool(shutil.which("containerd"))),
            (RUNTIMES[0], bool(installed_runtimes())),
        ):
            if not is_there:
                raise StartError(
                    f"{program} is missing; install it (apt-get install {program})"
                    " or name another runtime with --container-runtime-endpoint"
                )
        socket = os.fsencode(self._config.socket)
        if len(socket) > SOCKET_PATH_MAX:
            raise StartError(
                f"socket {self._config.socket} has a name of {len(socket)} bytes, at most"
                f" {SOCKET_PATH_MAX} are possible; choose a shorter --data-dir"
            )
        make_dir(self._folder)
        make_dir(self._config.cni_conf_dir, 0o755)

    def _find(self) -> int:
        """Return the pid of a containerd that was started for this folder, or 0."""
        found = find_processes("containerd", "--config", str(self._folder / "config.toml"))
        return next(iter(found), 0)

    def _launch(self) -> None:
        log_path = self._folder / "containerd.log"
        if log_path.exists() and log_path.stat().st_size > LOG_BYTES_MAX:
            log_path.replace(self._folder / "containerd.log.1")
        with contextlib.suppress(FileNotFoundError):
            self._config.socket.unlink()
        with log_path.open("ab") as output:
            self._child = subprocess.Popen(
                ["containerd", "--config", str(self._folder / "config.toml")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._pid = self._child.pid
        log.info("containerd started pid=%d", self._pid)

    async def _wait_ready(self) -> None:
        connection = Connection(self.endpoint)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_SECONDS
        try:
            while True:
                try:
                    await Runtime(connection).list_sandboxes({})  # it has read its books
                except CriError as error:
                    if self._exited() or loop.time() > deadline:
                        raise StartError(self._why(error)) from error
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    return
        finally:
            await connection.aclose()

    def _exited(self) -> bool:
        if self._child is not None and self._child.pid == self._pid:
            return self._child.poll() is not None
        return not Path(f"/proc/{self._pid}").exists()

    def _why(self, error: CriError) -> str:
        log_path = self._folder / "containerd.log"
        lines = log_path.read_text(errors="replace").splitlines() if log_path.exists() else []
        told = [line for line in lines[-20:] if "level=fatal" in line or "level=error" in line]
        last = (told or lines or [error.message])[-1]
        return f"containerd does not start: {last}; see {log_path}"

    async def supervise(self) -> None:
        """Return when containerd has died and runs again; to be run for ever by `restarting`."""
        await gone(self._pid)
        status = self._child.wait() if self._child and self._child.pid == self._pid else None
        log.warning("containerd died, starting it again pid=%d status=%s", self._pid, status)
        self._pid = 0
        await self._run()

    async def stop_if_idle(self) -> bool:
        """Stop containerd where no pod runs; tell whether it was stopped."""
        connection = Connection(self.endpoint)
        try:
            sandboxes = await Runtime(connection).list_sandboxes({})
        except CriError:
            return False
        finally:
            await connection.aclose()
        if any(sandbox.ready for sandbox in sandboxes):
            log.info("containerd keeps running for the pods of this node pid=%d", self._pid)
            return False
        await self._end()
        return True

    async def stop(self) -> None:
        """Stop containerd, if it runs, whatever it has to do."""
        self._pid = self._pid or self._find()
        if self._pid:
            await self._end()

    async def _end(self) -> None:
        """Stop the process, by force if it does not go."""
        pid, self._pid = self._pid, 0
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await gone(pid)
                break
        if self._child is not None and self._child.pid == pid:
            self._child.wait()
            self._child = None
        self._config.socket.unlink(missing_ok=True)


async def run_program(arguments: Sequence[str]) -> tuple[int, str]:
    """Run a program of the node to its end; return its exit status and what it printed.

    It is killed where nobody waits for it any more.
    """
    process = await asyncio.create_subprocess_exec(
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace").strip()
