"""The measurement of the datastores measures each of its kinds, in a very short run."""

from tests.bench import datastore, report


async def test_every_store_is_measured_and_what_has_a_budget_is_told() -> None:
    stores = ("sqlite", "postgres", "etcd")
    measured, figures = await datastore.datastore(0.01, stores)
    assert [(one.store, one.clients) for one in measured] == [
        (store, clients) for store in stores for clients in datastore.CLIENTS
    ]
    assert all(one.writes >= one.clients for one in measured)
    assert all(one.cpu_seconds >= 0 <= one.disk_bytes for one in measured)
    names = [figure.name for figure in figures]
    assert "size beside what is live" in names
    table = report.even([datastore.HEAD, *(one.cells for one in measured)])
    assert len({len(line) for line in table.splitlines()}) == 1
