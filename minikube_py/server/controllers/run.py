"""Runs all controllers in one process: one set of informers, an identity for each."""

import functools
from collections.abc import Callable, Sequence

from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Context, Identity, Part, Settings
from minikube_py.client.events import Recorder
from minikube_py.client.everything import Everything
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.controllers import CONTROLLERS

READER = "system:kube-controller-manager"
"""Whose informers all controllers share."""
ClientFor = Callable[[str], Client]


async def run_controllers(
    client_for: ClientFor,
    scheme: Scheme,
    clock: Clock,
    settings: Settings,
    controllers: Sequence[Part] = CONTROLLERS,
    reader: str = READER,
) -> None:
    """Run the controllers until cancelled; `client_for` makes the client of a user name."""
    async with Informers(client_for(reader), clock) as informers, Nursery("controllers") as nursery:
        everything = Everything(informers, scheme)
        for part in controllers:
            client = client_for(user_of(part))
            events = Recorder(client, part.name, clock)
            identity = Identity(client=client, events=events, clock=clock, settings=settings)
            nursery.start(f"{part.name} events", restarting(f"{part.name} events", events.run))
            run = functools.partial(_run, part, identity, informers, everything)
            nursery.start(part.name, restarting(part.name, run, sleep=clock.sleep))
        await nursery.join()


async def _run(
    part: Part, identity: Identity, informers: Informers, everything: Everything
) -> None:
    """Run one controller with a memory of its own, which a restart forgets."""
    await part.run(Context(identity, informers, everything))


def user_of(part: Part) -> str:
    """Return the user that a controller acts as; RBAC's bootstrap roles are bound to it."""
    if part.user.startswith("system:"):
        return part.user
    return f"system:serviceaccount:kube-system:{part.user or part.name}"
