"""The stop signal of a container, for runtimes that do not know that pods may name one.

A runtime that knows it says so in the status of the container, and sends it. For others it is sent
from here: to the first process of the container, whose number the runtime tells.
"""

import json
import logging
import os
import re
import signal as signals

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.runtime import Container, Runtime
from minikube_py.agent.kubelet.pod import stop_signal
from minikube_py.api.object import Obj
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
LOOK = Backoff(first_seconds=0.02, max_seconds=0.5)
"""Between the looks whether it has ended."""
REAL_TIME = re.compile(r"(SIGRTMIN|SIGRTMAX)(?:(?:PLUS|MINUS)(\d+))?")


def number(name: str) -> int:
    """Return the number of a signal as upstream names it; raises KeyError."""
    if found := REAL_TIME.fullmatch(name):
        more = int(found[2] or 0)
        return signals.SIGRTMIN + more if found[1] == "SIGRTMIN" else signals.SIGRTMAX - more
    return signals.Signals[name]


def untold(pod: Obj, spec: Obj, container: Container) -> str:
    """Return the signal that the runtime would not send by itself, "" where it does."""
    wanted = stop_signal(pod, spec)
    return wanted if wanted != container.stop_signal and container.state == "running" else ""


async def ended_by(
    runtime: Runtime, clock: Clock, container: Container, name: str, seconds: float
) -> bool | None:
    """Send a signal to a container; tell whether it ended in time, None where it was not sent."""
    deadline = clock.monotonic() + seconds
    try:
        info = await runtime.container_info(container.id)
        os.kill(int(json.loads(info["info"])["pid"]), number(name))
        look = 1
        while clock.monotonic() < deadline:
            if (await runtime.container_status(container.id)).state != "running":
                return True
            left = max(deadline - clock.monotonic(), 0.0)
            await clock.sleep(min(LOOK.wait_seconds(look), left))
            look += 1
    except (CriError, OSError, KeyError, ValueError) as error:
        log.info("stop signal not sent container=%s error=%r", container.name, error)
        return None
    return False
