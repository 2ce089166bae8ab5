"""`kpy cloud-controller-manager`: a cloud's controllers by themselves, for any cluster.

Several may run: the one that holds the lease works, the others wait for it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.lib.errors import StartError
from minikube_py.server.cloud.config import CloudControllerManagerConfig

if TYPE_CHECKING:
    from minikube_py.client.config import ClientConfig
    from minikube_py.server.cloud.provider import CloudSetting, Provider

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and the cluster's authority."""
SERVER = "https://kubernetes.default.svc"


def run(**given: Any) -> None:
    """Load the options and control the cloud until told to end."""
    config, program = load(CloudControllerManagerConfig, ProgramConfig, given=given)
    from minikube_py.cli import running  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.lib.log import configure  # noqa: PLC0415

    configure(program.log_level)
    made = look(config)
    running.run("cloud-controller-manager", lambda: serve(config, *made, running.Phases()))


command = click.Command(
    "cloud-controller-manager",
    callback=run,
    params=parameters(CloudControllerManagerConfig, ProgramConfig),
    help="Run a cloud's controllers for a cluster that --kubeconfig leads to. Ctrl-C stops them.",
)


def look(
    config: CloudControllerManagerConfig,
) -> "tuple[ClientConfig, Provider, CloudSetting]":
    """Read what the options lead to.

    Raises:
        StartError: names the cause and the remedy.

    """
    from minikube_py.client.kubeconfig import KubeconfigError  # noqa: PLC0415
    from minikube_py.client.kubeconfig import load as load_kubeconfig  # noqa: PLC0415
    from minikube_py.server.cloud import loading  # noqa: PLC0415
    from minikube_py.server.cloud.provider import CloudSetting  # noqa: PLC0415
    from minikube_py.server.config import WITHOUT_CLOUD  # noqa: PLC0415

    if config.cloud_provider in ("", *WITHOUT_CLOUD):
        names = ", ".join(loading.names())
        raise StartError(f"no cloud to control; pass --cloud-provider with one of {names}")
    try:
        client = load_kubeconfig(Path(config.kubeconfig)) if config.kubeconfig else in_pod()
    except KubeconfigError as error:
        raise StartError(f"{error}; pass another --kubeconfig") from error
    setting = CloudSetting(
        config_file=Path(config.cloud_config) if config.cloud_config else None,
        cluster_name=config.cluster_name,
        cluster_cidr=config.cluster_cidr,
        configure_routes=config.configure_cloud_routes,
    )
    return client, loading.load(config.cloud_provider, setting), setting


def in_pod(folder: Path = ACCOUNT) -> "ClientConfig":
    """Return how a pod reaches its cluster.

    Raises:
        StartError: this is no pod, or it has no token.

    """
    from minikube_py.client.config import ClientConfig  # noqa: PLC0415

    if not (folder / "token").is_file():
        raise StartError("no cluster to reach; pass --kubeconfig")
    return ClientConfig(server=SERVER, ca_file=folder / "ca.crt", token_file=folder / "token")


async def serve(
    config: CloudControllerManagerConfig,
    reached: "ClientConfig",
    provider: "Provider",
    setting: "CloudSetting",
    report: Callable[[str], None],
) -> None:
    """Run the controllers, when it is our turn, until cancelled."""
    from contextlib import AsyncExitStack  # noqa: PLC0415

    from minikube_py.api.kinds import BUILTIN  # noqa: PLC0415
    from minikube_py.api.scheme import Scheme  # noqa: PLC0415
    from minikube_py.client.controller import Settings  # noqa: PLC0415
    from minikube_py.client.http import HttpClient  # noqa: PLC0415
    from minikube_py.client.leader_election import elector_of, metrics, run_elected  # noqa: PLC0415
    from minikube_py.lib.clock import SystemClock  # noqa: PLC0415
    from minikube_py.lib.notify import notify  # noqa: PLC0415
    from minikube_py.server.cloud import run as cloud  # noqa: PLC0415
    from minikube_py.server.cloud import serving  # noqa: PLC0415
    from minikube_py.server.metrics import workqueues  # noqa: PLC0415

    clock, settings = SystemClock(), Settings(tallies=setting.tallies)
    client = HttpClient(reached)
    elector = elector_of(cloud.LEASE, client, clock)

    async def work() -> None:
        report(f"cloud controllers of {provider.name} are running")
        await cloud.run_cloud_controllers(
            provider, setting, lambda _: client, Scheme(BUILTIN), clock, settings
        )

    pages = serving.Pages(
        client,
        elector.problem,
        lambda: (*metrics((elector,)), *workqueues(settings.loads), *settings.tallies.lines()),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        if config.secure_port:
            context = serving.context_of(config, clock.now())
            at = (config.bind_address, config.secure_port)
            await stack.enter_async_context(serving.serving(pages, *at, context))
            report(f"health checks and metrics are on port {config.secure_port}")
        notify("READY=1")
        await (run_elected(elector, work) if config.leader_elect else work())
