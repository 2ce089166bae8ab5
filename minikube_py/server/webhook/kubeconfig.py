"""Webhooks that the administrator names in a file, which has the form of a kubeconfig."""

import ssl
from pathlib import Path

from minikube_py.client import kubeconfig
from minikube_py.lib.errors import StartError
from minikube_py.server.webhook.client import Target


def target_of_file(flag: str, path: str) -> Target:
    """Return the target that a kubeconfig names; its server's URL has the path of the webhook.

    Raises:
        StartError: the file cannot be used; names the flag.

    """
    try:
        config = kubeconfig.load(Path(path))
        context = config.ssl_context()
        token = config.token_file.read_text().strip() if config.token_file else config.token
    except kubeconfig.KubeconfigError as error:
        raise StartError(f"{flag}: {error}") from error
    except (ssl.SSLError, OSError) as error:
        raise StartError(f"{flag}: kubeconfig {path} names files that cannot be used") from error
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Target(
        config.server, context=context, headers=headers, server_name=config.tls_server_name
    )
