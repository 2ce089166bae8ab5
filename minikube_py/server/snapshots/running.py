"""Snapshots beside a running server: those that are asked for, and those of the schedule."""

import functools

from minikube_py.client.events import Recorder
from minikube_py.client.protocol import Client
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.elections import Elections
from minikube_py.server.snapshots.service import SUBJECT, Snapshots

ELECTION = "kpy-snapshots"
"""The Lease of the server that keeps the schedule, where several share a datastore."""


def start(
    snapshots: Snapshots,
    nursery: Nursery,
    elections: Elections,
    client: Client,
    recovered: str,
) -> None:
    """Follow the schedule.

    Where the database was `recovered` from a snapshot, that text becomes an event.
    """
    events = Recorder(client, "kpy", snapshots.clock)
    nursery.start("snapshot events", restarting("snapshot events", events.run))
    if recovered:
        events.record(SUBJECT, "Warning", "DatastoreRecovered", recovered)
    config = snapshots.config
    if not config.snapshot_schedule_cron or config.datastore_endpoint.startswith("memory:"):
        return
    work = functools.partial(snapshots.run, events)
    elected = elections.elected(ELECTION, client, work)
    nursery.start("snapshots", restarting("snapshots", elected))
