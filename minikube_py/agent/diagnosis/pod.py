"""A pod's network without a pod: a namespace that the node's own CNI plugins connect.

It gets an address as every pod does, so that what is asked from in there takes the way of pods; at
the end it is given back. The namespace lives with a thread of this process and needs no name.
"""

import contextlib
import json
import os
import queue
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from minikube_py.agent.network.cni import FILE_NAME, find_plugins

CLONE_NEWNET = 0x40000000
PLUGIN_SECONDS = 30.0


class PluginError(Exception):
    """A plugin could not connect or disconnect the namespace; its own words."""


class Inside:
    """A network namespace; functions run in there."""

    def __init__(self) -> None:
        self.cidrs: tuple[str, ...] = ()
        """The networks that pods of this node have addresses from."""
        self._works: queue.Queue[tuple[Callable[[], Any], Future[Any]] | None] = queue.Queue()
        made: Future[str] = Future()
        self._thread = threading.Thread(target=self._live, args=(made,), daemon=True)
        self._thread.start()
        self.path = made.result()
        """By which programs find the namespace."""

    def _live(self, made: "Future[str]") -> None:
        import ctypes  # noqa: PLC0415

        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            made.set_exception(PluginError(os.strerror(ctypes.get_errno()).lower()))
            return
        made.set_result(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net")
        while (given := self._works.get()) is not None:
            work, future = given
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 -- raised again where it was asked for
                future.set_exception(error)

    def run(self, work: Callable[[], Any]) -> Any:
        """Run a function in the namespace; return or raise what it does."""
        future: Future[Any] = Future()
        self._works.put((work, future))
        return future.result()

    def close(self) -> None:
        """End the namespace."""
        self._works.put(None)
        self._thread.join()


@contextlib.contextmanager
def pod_network(conf_dir: Path) -> Iterator[Inside]:
    """Have a namespace that is connected as pods are.

    Raises:
        PluginError: there is no configuration, or a plugin refused.

    """
    file = conf_dir / FILE_NAME
    if not file.exists():
        raise PluginError(f"there is no {file}")
    inside = Inside()
    try:
        config = json.loads(file.read_bytes())
        first = {**config["plugins"][0], "cniVersion": config["cniVersion"], "name": config["name"]}
        name = f"kpy-check-{uuid.uuid4().hex[:12]}"
        _call("ADD", first, name, inside.path)
        inside.cidrs = tuple(one["subnet"] for (one,) in first["ipam"]["ranges"])
        try:
            yield inside
        finally:
            _call("DEL", first, name, inside.path)
    finally:
        inside.close()


def _call(command: str, config: dict[str, Any], name: str, path: str) -> None:
    folder = find_plugins()
    environment = {
        **os.environ,
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": name,
        "CNI_NETNS": path,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(folder),
    }
    done = subprocess.run(
        [str(folder / config["type"])],
        check=False,
        capture_output=True,
        input=json.dumps(config).encode(),
        env=environment,
        timeout=PLUGIN_SECONDS,
    )
    if done.returncode != 0:
        text = done.stdout.decode(errors="replace")
        with contextlib.suppress(ValueError):
            text = str(json.loads(text).get("msg", text))
        raise PluginError(text.strip() or f"{config['type']} ended with {done.returncode}")
