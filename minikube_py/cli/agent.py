"""`kpy agent`: a node of a cluster whose control plane is elsewhere."""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import click

from minikube_py.agent.config import AgentConfig
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.lib.errors import StartError


def run(**given: Any) -> None:
    """Load the options and be a node until told to end."""
    config, program = load(AgentConfig, ProgramConfig, given=given)
    from minikube_py.cli import running  # noqa: PLC0415 -- `kpy agent --help` stays light
    from minikube_py.lib import memory  # noqa: PLC0415
    from minikube_py.lib.log import configure  # noqa: PLC0415

    configure(program.log_level)
    look(config)
    memory.few_heaps()
    running.run("agent", lambda: serve(config, running.Phases()))


command = click.Command(
    "agent",
    callback=run,
    params=parameters(AgentConfig, ProgramConfig),
    help="Run a node of the cluster that --server is part of. Ctrl-C stops it; pods run on.",
)


def look(config: AgentConfig) -> None:
    """Refuse what cannot work.

    Raises:
        StartError: names the cause and the remedy.

    """
    from minikube_py.agent.join import parse_server, parse_token  # noqa: PLC0415
    from minikube_py.cli.check import examine, require  # noqa: PLC0415

    if not config.server:
        raise StartError("no server to join; pass --server https://ADDRESS:6443")
    if not config.token:
        raise StartError("no token; pass --token with what `kpy token` prints on the server")
    parse_server(config.server)
    parse_token(config.token)
    require(examine(own_runtime=not config.container_runtime_endpoint))


async def serve(config: AgentConfig, report: Callable[[str], None]) -> None:
    """Join and run the node until cancelled."""
    from minikube_py.agent import certificates  # noqa: PLC0415
    from minikube_py.agent.app import NodeSettings, run_agent, settle  # noqa: PLC0415
    from minikube_py.agent.join import join, node_password  # noqa: PLC0415
    from minikube_py.agent.keeping import KeepingClient  # noqa: PLC0415
    from minikube_py.agent.kept import Kept  # noqa: PLC0415
    from minikube_py.agent.uplink import Uplink  # noqa: PLC0415
    from minikube_py.cli.node import cluster_info, membership_folder  # noqa: PLC0415
    from minikube_py.lib.clock import SystemClock  # noqa: PLC0415
    from minikube_py.lib.fsutil import FolderLock, make_dir  # noqa: PLC0415
    from minikube_py.lib.notify import notify  # noqa: PLC0415
    from minikube_py.lib.renewal import keep  # noqa: PLC0415
    from minikube_py.lib.tasks import Nursery, restarting  # noqa: PLC0415

    clock = SystemClock()
    settings = await asyncio.to_thread(settle, config, config.data_dir)
    lock = FolderLock(make_dir(settings.folder, 0o711))
    try:
        joining = functools.partial(
            join,
            server=config.server,
            token=config.token,
            node_name=settings.name,
            folder=membership_folder(config.data_dir),
            clock=clock,
        )

        here = settings
        member = await joining(addresses=here.ips, alone=True)
        report(f"joined {member.server} as {member.node_name}")
        notify("READY=1")
        uplink = Uplink(member, settings.folder)
        uplink.servers.keep()
        kubelet, proxy = uplink.kubelet(), uplink.proxy()

        async def renew() -> datetime:
            await certificates.renew(member, kubelet, clock)
            return (await joining(addresses=here.ips)).due

        async def certify(moved: NodeSettings) -> None:
            nonlocal here
            here = moved
            await joining(addresses=here.ips)

        try:
            known = Kept(settings.folder / "kept", node_password(member.folder), clock)
            async with known as kept, Nursery("node") as nursery:
                nursery.start(
                    "renewal", restarting("renewal", lambda: keep(renew, member.due, clock))
                )
                info = replace(cluster_info(member, uplink), certify=certify, kept=kept)
                node, services = (KeepingClient(one, kept, clock) for one in (kubelet, proxy))
                await run_agent(settings, node, info, report, proxy_client=services, clock=clock)
        finally:
            await kubelet.close()
            await proxy.close()
    finally:
        lock.release()
