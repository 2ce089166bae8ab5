"""`kpy server`: a control plane and, unless told otherwise, a node beside it, in one process.

All that can be refused is looked at before anything is made: options, rights, programs, the port,
the data dir. What then fails is one line and status 1, and the next start goes on from there.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from minikube_py.agent.config import NodeConfig, SimulationConfig
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.server.config import ServerConfig

if TYPE_CHECKING:
    from minikube_py.agent.simulated.app import Simulation

CONFIGS = (ServerConfig, NodeConfig, SimulationConfig, ProgramConfig)
"""Where the options of the command stand."""


def run(**given: Any) -> None:
    """Load the options and serve until told to end."""
    server, node, simulation, program = load(*CONFIGS, given=given)
    from minikube_py.cli import running  # noqa: PLC0415 -- `kpy server --help` stays light
    from minikube_py.lib.log import configure  # noqa: PLC0415
    from minikube_py.server.profile import applied  # noqa: PLC0415

    configure(program.log_level)
    server = applied(server)
    look(server, node)
    nodes = None
    if simulation != SimulationConfig():
        from minikube_py.agent.simulated import app  # noqa: PLC0415 -- few clusters simulate

        nodes = app.settle(simulation)
    running.run("server", lambda: serve(server, node, nodes, running.Phases()))


command = click.Command(
    "server",
    callback=run,
    params=parameters(*CONFIGS),
    help="Run a control plane, and a node beside it. Ctrl-C stops both; pods run on.",
)


def look(server: ServerConfig, node: NodeConfig) -> None:
    """Refuse what cannot work.

    Raises:
        StartError: names the cause and the remedy.

    """
    from minikube_py.cli.check import examine, require  # noqa: PLC0415
    from minikube_py.lib.net import check_port  # noqa: PLC0415
    from minikube_py.server import options  # noqa: PLC0415
    from minikube_py.server.snapshots.restoring import refuse_unfinished  # noqa: PLC0415

    options.check(server)
    refuse_unfinished(server.data_dir)
    if not server.disable_agent:
        require(examine(own_runtime=not node.container_runtime_endpoint))
    check_port(server.bind_address, server.https_listen_port, flag="--https-listen-port")


async def serve(
    server: ServerConfig,
    node: NodeConfig,
    simulation: "Simulation | None",
    report: Callable[[str], None],
) -> None:
    """Run the control plane, the node and those that are simulated until cancelled."""
    from minikube_py.lib.clock import SystemClock  # noqa: PLC0415
    from minikube_py.lib.fsutil import FolderLock, make_dir  # noqa: PLC0415
    from minikube_py.lib.notify import notify  # noqa: PLC0415
    from minikube_py.lib.tasks import Nursery  # noqa: PLC0415
    from minikube_py.server.app import ServerApp  # noqa: PLC0415
    from minikube_py.server.etcd_member.run import running  # noqa: PLC0415
    from minikube_py.server.preparation import prepared  # noqa: PLC0415

    clock = SystemClock()
    settings = None
    if not server.disable_agent:
        from minikube_py.agent.app import settle  # noqa: PLC0415 -- gRPC is for nodes alone

        settings = await asyncio.to_thread(settle, node, server.data_dir)
    host, addresses = (settings.name, settings.ips) if settings else ("", ())
    lock = FolderLock(make_dir(make_dir(server.data_dir, 0o711) / "server"))
    try:
        async with running(server, clock, report, host=host, addresses=addresses) as applied:
            material = await prepared(applied, clock, node_name=host, node_addresses=addresses)
            report("certificates are ready")
            app = ServerApp(applied, material, clock)
            async with app.running(report):
                report(f"kubeconfig is {server.write_kubeconfig}")
                notify("READY=1")
                async with Nursery("server") as nursery:
                    if simulation is not None:
                        nursery.start("simulation", simulate(app, simulation))
                    if settings is None:
                        await asyncio.Event().wait()
                    else:
                        await run_node(app, settings, report)
    finally:
        lock.release()


async def simulate(app: Any, simulation: "Simulation") -> None:
    """Be the kubelets of many nodes at once; no single node's rights are enough for that."""
    from minikube_py.agent.simulated.app import run_simulation  # noqa: PLC0415
    from minikube_py.server.attributes import User  # noqa: PLC0415

    user = User("system:simulated-nodes", ("system:masters", "system:authenticated"))
    await run_simulation(simulation, app.loopback(user), app.clock)


async def run_node(app: Any, settings: Any, report: Callable[[str], None]) -> None:
    """Run the node beside the control plane; it reaches the API in process."""
    from minikube_py.agent.app import run_agent  # noqa: PLC0415
    from minikube_py.cli.local_node import local_membership  # noqa: PLC0415
    from minikube_py.cli.node import cluster_info  # noqa: PLC0415
    from minikube_py.lib.renewal import keep  # noqa: PLC0415
    from minikube_py.lib.tasks import Nursery, restarting  # noqa: PLC0415

    here = settings

    async def renew() -> datetime:
        return local_membership(app.config, app.bootstrap, here, app.clock).due

    async def certify(moved: Any) -> None:
        nonlocal here
        here = moved
        await app.move(moved.ips)
        await renew()

    member = local_membership(app.config, app.bootstrap, settings, app.clock)
    async with Nursery("node") as nursery:
        nursery.start("renewal", restarting("renewal", lambda: keep(renew, member.due, app.clock)))
        await run_agent(
            settings,
            app.loopback(f"system:node:{settings.name}"),
            replace(cluster_info(member), certify=certify),
            report,
            proxy_client=app.loopback("system:kube-proxy"),
            clock=app.clock,
        )
