"""Asks kubelets for their page of resource metrics."""

import ssl

from minikube_py.api.errors import ServiceUnavailableError
from minikube_py.api.object import Obj, get
from minikube_py.server.apiserver.connect import kubelet_base
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.metrics_api.scraper import FETCH_SECONDS, PAGE_BYTES_MAX, Fetch


def fetch_from_kubelets(proxy: Proxy, tls: ssl.SSLContext) -> Fetch:
    """Return what asks the kubelet of a node; `tls` has the certificate that kubelets know."""

    async def fetch(node: Obj) -> str:
        if not get(node, "status.daemonEndpoints.kubeletEndpoint.Port"):
            raise ServiceUnavailableError("the node says of no kubelet where it listens")
        url = f"{kubelet_base(node)}/metrics/resource"
        return await proxy.fetch(url, tls, bytes_max=PAGE_BYTES_MAX, seconds=FETCH_SECONDS)

    return fetch
