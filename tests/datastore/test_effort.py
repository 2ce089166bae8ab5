"""What an idle node costs the disk."""

from pathlib import Path

from minikube_py.datastore.compaction import FEW_SECONDS
from minikube_py.datastore.retention import Retention
from minikube_py.datastore.sqlite import SqliteBackend
from minikube_py.datastore.writer import LAZY_SECONDS

LEASE, NODE = "/registry/coordination.k8s.io/leases/kube-node-lease/n", "/registry/nodes/n"
DAY = 24 * 3600
LEASE_SECONDS, STATUS_SECONDS = 10, 300
PART = 24
"""The part of a day that is lived through: an hour."""
BYTES_A_DAY_MAX = 50 * 10**6


async def test_an_idle_node_writes_less_than_50_megabytes_a_day(tmp_path: Path) -> None:
    """Live through an hour of what an idle node and its server write, each beat on disk."""
    store = await SqliteBackend.open(
        tmp_path / "state.db",
        lazy_prefixes=(LEASE,),
        retention=Retention(64 << 20, passing=(LEASE,)),
    )
    lease, node = await store.create(LEASE, bytes(600)), await store.create(NODE, bytes(8000))
    before = store.effort()
    for second in range(0, DAY // PART, LEASE_SECONDS):
        lease = await store.update(LEASE, bytes(600), revision=lease)
        if second % LAZY_SECONDS == 0:
            await store._writer.flush()
        if second % STATUS_SECONDS == 0:
            node = await store.update(NODE, bytes(8000), revision=node)
        if second % FEW_SECONDS == 0:
            await store.compact(max(lease - 2 * STATUS_SECONDS // LEASE_SECONDS, 0))
    after = store.effort()
    await store.close()
    assert before.written_bytes is not None
    assert after.written_bytes is not None
    written = after.written_bytes - before.written_bytes
    assert 0 < written * PART < BYTES_A_DAY_MAX
    assert after.commits - before.commits >= DAY // PART // LAZY_SECONDS
