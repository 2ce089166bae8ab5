"""The runtime that other tests believe in keeps the contract that containerd is held to."""

import asyncio
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.images import Image
from minikube_py.agent.kubelet.config import Machine, Start, container_config, sandbox_config
from minikube_py.agent.kubelet.dns import Resolver
from minikube_py.lib.tasks import Nursery
from tests.cri_contract import CONTAINER_NAMES, Case, keep
from tests.unit.agent.kubelet.builders import container, pod
from tests.unit.agent.kubelet.model_node import ModelRuntime, Script
from tests.virtual_time import VirtualClock, virtual


@virtual
async def test_the_model_keeps_the_contract():
    async with Nursery("test") as nursery:
        runtime = ModelRuntime(VirtualClock(), nursery)
        runtime.scripts = {
            "ends": [Script(code=3, seconds=0.5)],
            "stubborn": [Script(ignores_term=True)],
        }
        a_pod: Any = pod([container(name) for name in CONTAINER_NAMES])
        start = Start(restart_count=0, image=Image(id="sha256:1", uid=0), env={})
        machine = Machine(memory_bytes=1 << 30, unified=False, seccomp_folder=Path("/sc"))
        case = Case(
            runtime,
            sandbox_config(a_pod, 0, "host", Resolver(), Path("/logs")),
            {
                one["name"]: container_config(a_pod, one, start, machine)
                for one in a_pod["spec"]["containers"]
            },
            asyncio.sleep,
            {"io.kubernetes.pod.uid": "u"},
        )
        await keep(case)
