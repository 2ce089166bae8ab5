"""Which of several servers runs the scheduler and the controllers: the one that holds the Lease.

A server whose datastore is its own has no rivals, and spends nothing on that; see
docs/decisions/0014-elections.md.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from minikube_py.api.object import Key
from minikube_py.client import leader_election
from minikube_py.client.leader_election import LeaderElector, Terms, elector_of, run_elected
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock

NAMESPACE = "kube-system"
TERMS = Terms(lease=10, renew=7.0, retry=0.9)
"""Shorter than upstream's 15, 10 and 2 s. A rival looks at the latest after 0.9 * 2.2 = 2 s, so it
takes over within 2 s from who stops, and within 2 + 10 + 2 = 14 s from who dies."""
Work = Callable[[], Coroutine[Any, Any, None]]


class Elections:
    """The elections that this process takes part in; none where it has no rivals."""

    def __init__(self, clock: Clock, *, rivals: bool) -> None:
        self._clock = clock
        self._rivals = rivals
        self._electors: list[LeaderElector] = []

    def elected(self, name: str, client: Client, work: Work) -> Callable[[], Awaitable[None]]:
        """Return what does the work whenever we hold the Lease of that name; `client` writes it."""
        if not self._rivals:
            return work
        elector = elector_of(Key(NAMESPACE, name), client, self._clock, TERMS)
        self._electors.append(elector)
        return functools.partial(run_elected, elector, work)

    def metrics(self) -> Iterator[str]:
        """Yield whether we lead, as Prometheus reads it."""
        return leader_election.metrics(self._electors)
