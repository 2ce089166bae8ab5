"""What the server tells Prometheus, under upstream's names (text format 0.0.4)."""

from collections.abc import Iterable, Iterator

from minikube_py import KUBERNETES_VERSION
from minikube_py.server.apiserver.watch import Watches
from minikube_py.server.registry.store import Store


def render(store: Store, watches: Watches, more: Iterable[str] = ()) -> bytes:
    """Return the metrics page; `more` are the lines of parts that count for themselves."""
    return "\n".join([*_lines(store, watches), *more, ""]).encode()


def _lines(store: Store, watches: Watches) -> Iterator[str]:
    yield "# HELP apiserver_storage_objects Number of stored objects, by resource."
    yield "# TYPE apiserver_storage_objects gauge"
    for resource, count in store.cache.counts():
        yield f'apiserver_storage_objects{{resource="{resource}"}} {count}'
    yield "# HELP apiserver_longrunning_requests Watches that are open."
    yield "# TYPE apiserver_longrunning_requests gauge"
    yield f'apiserver_longrunning_requests{{verb="WATCH"}} {len(watches)}'
    yield "# HELP kubernetes_build_info The version of this server."
    yield "# TYPE kubernetes_build_info gauge"
    yield f'kubernetes_build_info{{git_version="{KUBERNETES_VERSION}+kpy"}} 1'
