"""How long the datastore takes, as metrics tell it."""

import pytest

from minikube_py.datastore.kv import RevisionMismatchError, UnavailableError
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


class Failing(MemoryBackend):
    """A store that cannot be written to."""

    async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
        raise UnavailableError("away")


async def test_only_what_the_store_could_not_do_counts_as_an_error() -> None:
    backend = MeasuredBackend(Failing())
    with pytest.raises(UnavailableError):
        await backend.create("/registry/pods/a/b", b"1")
    with pytest.raises(RevisionMismatchError):
        await backend.update("/registry/pods/a/b", b"2", revision=1)
    lines = [line for line in backend.lines() if line.startswith("etcd_request_errors_total")]
    assert lines == ['etcd_request_errors_total{operation="create",type="pods"} 1']
    await backend.close()


def test_a_slow_store_is_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    backend = MeasuredBackend(MemoryBackend())
    for took in (0.5, 1.5, 2.5):
        backend.count("update", "/registry/pods/a/b", took, failed=False)
    assert [record.getMessage() for record in caplog.records] == [
        "the datastore is slow: its disk, or the way to it, is busy operation=update took=1.5s"
    ]
