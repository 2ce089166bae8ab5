"""`make run`: a single-node cluster in the foreground, with an example in it.

Puts the images that the build made where the node imports them from, starts `kpy server`, applies
examples/hello, shows what its Service answers, and stays until Ctrl-C. Everything else is kpy's own
doing; the same cluster comes from `kpy server` alone.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
IMAGES = ROOT / "build" / "images"
EXAMPLE = ROOT / "examples" / "hello"
DATA_DIR = Path(os.environ.get("KPY_DATA_DIR", "/var/lib/kpy"))
KUBECONFIG = Path(os.environ.get("KPY_WRITE_KUBECONFIG", "/etc/kpy/kpy.yaml"))
START_SECONDS_MAX = 120
ANSWERS = 4
"""Enough that both replicas answer, most of the time."""


class GaveUpError(Exception):
    """The cluster did not come up; what it printed says why."""


def place_images() -> None:
    """Copy the image archives to where the node imports them from at its start."""
    folder = DATA_DIR / "agent" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(IMAGES / "busybox.tar", folder)  # the pause image comes with kpy


def kubectl(*arguments: str, check: bool = True) -> str:
    """Run kubectl on the cluster and return what it prints."""
    line = [str(BIN / "kubectl"), "--kubeconfig", str(KUBECONFIG), *arguments]
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise GaveUpError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def wait_until_ready(server: "subprocess.Popen[bytes]") -> None:
    """Wait until the node takes pods."""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not is_ready():
        if server.poll() is not None:
            raise GaveUpError("kpy server ended")
        if time.monotonic() > deadline:
            raise GaveUpError(f"the node is not ready after {START_SECONDS_MAX} s")
        time.sleep(0.2)


def is_ready() -> bool:
    """Tell whether a node is there and ready."""
    if not KUBECONFIG.exists():
        return False
    nodes: list[Any] = json.loads(kubectl("get", "nodes", "-o", "json", check=False) or "{}").get(
        "items", []
    )
    conditions = [c for node in nodes for c in node.get("status", {}).get("conditions", ())]
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def show_example() -> None:
    """Apply the example and print what its Service answers."""
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    print(kubectl("apply", "-f", str(EXAMPLE)), end="")
    print(kubectl("rollout", "status", "deployment/hello", "--timeout=120s"), end="")
    address = kubectl("get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}")
    print(f"\nService hello answers at http://{address}:")
    for _ in range(ANSWERS):
        print(f"  {ask(f'http://{address}')}")


def ask(url: str) -> str:
    """Return what a web server answers; a Service may need a moment to reach its nodes."""
    deadline = time.monotonic() + 15
    while True:
        try:
            with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310 -- our own Service
                text: str = answer.read().decode().strip()
                return text
        except OSError as error:
            if time.monotonic() > deadline:
                raise GaveUpError(f"{url} does not answer: {error}") from error
            time.sleep(0.1)


def show_hints() -> None:
    """Say what to try."""
    print(
        f"""
The kubeconfig is {KUBECONFIG}. In another terminal:
  export KUBECONFIG={KUBECONFIG} PATH=$PATH:{BIN}
  kubectl get pods -A -o wide
  kubectl scale deployment hello --replicas=4
  kubectl logs -l app=hello
Ctrl-C stops kpy; the pods run on, and the next `make run` finds them.
""",
        flush=True,
    )


def main() -> int:
    """Run the cluster until it is told to end; return its exit status."""
    if os.geteuid() != 0:
        print("error: a node needs root; run: sudo make run", file=sys.stderr)
        return 1
    place_images()
    server = subprocess.Popen([str(BIN / "kpy"), "server", "--log-level", "warning"])
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    status = 0
    try:
        wait_until_ready(server)
        show_example()
        show_hints()
        server.wait()
    except KeyboardInterrupt:
        pass  # The terminal has sent it to the server as well.
    except GaveUpError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
        server.terminate()
    with contextlib.suppress(KeyboardInterrupt):
        server.wait()
    return status or server.returncode


if __name__ == "__main__":
    sys.exit(main())
