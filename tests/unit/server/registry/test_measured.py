"""How long the datastore takes, as metrics tell it."""

import pytest

from minikube_py.datastore.kv import RevisionMismatchError
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.server.registry.measured import MeasuredBackend, type_of


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("/registry/pods/default/a", "pods"),
        ("/registry/namespaces/a", "namespaces"),
        ("/registry/apps/deployments/default/a", "deployments.apps"),
        ("/registry/example.com/foos/a", "foos.example.com"),
        ("/registry/pods/", "pods"),
    ],
)
def test_a_key_tells_its_kind(key: str, kind: str) -> None:
    assert type_of(key) == kind


async def test_every_request_is_counted_also_one_that_is_refused() -> None:
    backend = MeasuredBackend(MemoryBackend())
    first = await backend.create("/registry/pods/a/b", b"1")
    await backend.update("/registry/pods/a/b", b"2", revision=first)
    with pytest.raises(RevisionMismatchError):
        await backend.update("/registry/pods/a/b", b"3", revision=first)
    found = await backend.get("/registry/pods/a/b")
    assert found is not None
    assert found.value == b"2"
    lines = list(backend.lines())
    assert 'etcd_requests_total{operation="create",type="pods"} 1' in lines
    assert 'etcd_requests_total{operation="update",type="pods"} 2' in lines
    assert 'etcd_request_duration_seconds_count{operation="get",type="pods"} 1' in lines
    await backend.close()
