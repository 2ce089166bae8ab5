"""`kpy`: the commands, each in a module that is imported when it is called.

`kpy --help` and `kpy --version` import click alone (30 ms); a control plane never imports what
only a node needs, nor a node the datastore.
"""

import errno
import sys
from collections.abc import Mapping

import click

from minikube_py import KUBERNETES_VERSION, __version__
from minikube_py.cli.commands import Commands
from minikube_py.lib.errors import StartError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "server": ("server", "run a control plane, and a node beside it"),
    "agent": ("agent", "run a node of a cluster"),
    "cloud-controller-manager": (
        "cloud_controller_manager",
        "run a cloud's controllers by themselves",
    ),
    "etcd": ("etcd", "serve the API of etcd over a datastore"),
    "kubectl": ("kubectl", "run kubectl as the cluster's administrator"),
    "get": ("get", "show objects as they were (--at TIME), or run kubectl get"),
    "history": ("history", "show who changed an object, when and what"),
    "why": ("why", "say why a pod is pending: each node, each plugin's verdict"),
    "certificate": ("certificate", "show, renew and replace certificates"),
    "security": ("security", "look at how safe this machine and its cluster are"),
    "secrets-encrypt": ("secrets_encrypt", "show and change how secrets are encrypted at rest"),
    "datastore": ("datastore", "look at the datastore, and move it to another backend"),
    "snapshot": ("snapshot", "back the cluster up, and restore it"),
    "token": ("token", "print the token that agents join with"),
    "check": ("check", "say what this machine lacks"),
    "reset": ("reset", "remove every trace of kpy from this machine"),
    "completion": ("completion", "print the completion script of a shell"),
}
"""Name -> module below `minikube_py.cli`, and what the command does."""


DISK_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Errors that are the disk's and not ours."""


@click.group(
    cls=Commands,
    commands_by_name=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message=f"kpy {__version__} (Kubernetes {KUBERNETES_VERSION})")
def program() -> None:
    """Kubernetes in one Python process."""


def main() -> None:
    """Run the program; a `StartError`, or a disk that fails, is one line on stderr and status 1."""
    try:
        program(prog_name="kpy")
    except StartError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in DISK_FAILS:
            raise
        where, why = error.filename or "the disk", (error.strerror or "").lower()
        click.echo(f"error: cannot write to {where}: {why}; mend that and start again", err=True)
        sys.exit(1)
