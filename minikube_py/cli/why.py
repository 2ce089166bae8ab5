"""`kpy why pod/NAME`: what every plugin of the scheduler says of every node."""

import asyncio
from pathlib import Path

import click

from minikube_py.lib.errors import StartError


@click.command("why")
@click.argument("what", metavar="pod/NAME")
@click.option("--namespace", "-n", default="default", help="namespace of the pod")
@click.option("--kubeconfig", envvar="KUBECONFIG", default="", help="how to reach the cluster")
@click.option(
    "--scheduler-config", default="", help="configuration of the scheduler, if it has one"
)
def command(what: str, namespace: str, kubeconfig: str, scheduler_config: str) -> None:
    """Say why a pod is pending, or would go where it goes: each node, each plugin's verdict."""
    kind, _, name = what.rpartition("/")
    if kind not in ("", "pod", "pods", "po") or not name:
        raise StartError(f"{what!r} is no pod; say pod/NAME")
    for line in asyncio.run(
        _told(Path(kubeconfig_of(kubeconfig)), namespace, name, scheduler_config)
    ):
        click.echo(line)


def kubeconfig_of(given: str) -> str:
    """Return the kubeconfig to use: the administrator's of this machine where none is given."""
    from minikube_py.agent.config import AgentConfig  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.cli.config import ProgramConfig, load  # noqa: PLC0415
    from minikube_py.server.config import ServerConfig  # noqa: PLC0415

    if given:
        return given
    config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given={})
    if not config.write_kubeconfig.exists():
        raise StartError(
            f"there is no {config.write_kubeconfig}; start `kpy server` first, or set KUBECONFIG"
        )
    return str(config.write_kubeconfig)


async def _told(kubeconfig: Path, namespace: str, name: str, config: str) -> list[str]:
    from minikube_py.api.errors import StatusError  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.api.object import Key  # noqa: PLC0415
    from minikube_py.client.http import HttpClient  # noqa: PLC0415
    from minikube_py.client.kubeconfig import KubeconfigError  # noqa: PLC0415
    from minikube_py.client.kubeconfig import load as read  # noqa: PLC0415
    from minikube_py.server.scheduler import configuration, why  # noqa: PLC0415

    told = configuration.load(config)
    try:
        client = HttpClient(read(kubeconfig))
    except KubeconfigError as error:
        raise StartError(str(error)) from error
    try:
        found = await why.look(client, Key(namespace, name), told)
    except StatusError as error:
        raise StartError(f"cannot look at the cluster: {error}") from error
    finally:
        await client.close()
    if found is None:
        raise StartError(f"there is no pod {name!r} in namespace {namespace!r}")
    names = [one["schedulerName"] for one in told.profiles]
    return list(why.report(found, names))
