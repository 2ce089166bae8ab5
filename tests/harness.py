"""A model cluster with the runtime of controllers around it, for tests in virtual time."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Context, Identity, Part, Settings
from minikube_py.client.events import Recorder
from minikube_py.client.everything import Everything
from minikube_py.client.informer import Informers
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock


class World:
    """One cluster and who acts in it."""

    def __init__(self, nursery: Nursery, settings: Settings) -> None:
        self.clock = VirtualClock()
        self.cluster = ModelCluster(self.clock)
        self.client = self.cluster.client()
        self.scheme = Scheme(BUILTIN)
        self.settings = settings
        self.nursery = nursery
        self.informers = Informers(self.cluster.client("informers"), self.clock)
        self.everything = Everything(self.informers, self.scheme)
        self.context = self.context_for("test")

    def context_for(self, name: str) -> Context:
        client = self.cluster.client(name)
        events = Recorder(client, name, self.clock)
        self.nursery.start(f"{name} events", events.run())
        identity = Identity(client=client, events=events, clock=self.clock, settings=self.settings)
        return Context(identity, self.informers, self.everything)

    def run(self, *parts: Part) -> None:
        for part in parts:
            self.nursery.start(part.name, part.run(self.context_for(part.name)))


@contextlib.asynccontextmanager
async def harness(**settings: Any) -> AsyncIterator[World]:
    async with Nursery("test") as nursery:
        world = World(nursery, Settings(**settings))
        async with world.informers:
            yield world
