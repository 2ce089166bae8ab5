"""Days of a cluster in virtual time: users do random things, nodes fail, and what must hold holds.

All controllers and the scheduler run beside simulated nodes that are cut off once in a while. The
days differ from seed to seed, and a seed always gives the same ones.
"""

import os
import random
from collections import Counter

import pytest

from minikube_py.agent.simulated.rules import Behaviour, NodeGroup, PodRule, Rules, Span, span
from minikube_py.agent.simulated.run import SimulatedNodes
from minikube_py.api import selectors
from minikube_py.api.apps import DEPLOYMENTS, REPLICASETS, STATEFULSETS
from minikube_py.api.batch import CRONJOBS, JOBS
from minikube_py.api.core import NAMESPACES, NODES, PODS
from minikube_py.api.errors import AlreadyExistsError, ConflictError, ForbiddenError, NotFoundError
from minikube_py.api.object import controller_of, evolve, get, is_deleting
from minikube_py.api.policy import PODDISRUPTIONBUDGETS
from minikube_py.server.controllers import CONTROLLERS
from minikube_py.server.scheduler.scheduler import Scheduler
from tests.harness import harness
from tests.virtual_time import run, settle

HOUR = 3600.0
DAYS = int(os.environ.get("KPY_SIMULATED_DAYS", "1"))
"""More of them take longer than a test should."""
NAMES = ("a", "b", "c")
RULES = Rules(
    nodes=(
        NodeGroup(name="fails", downEvery=6 * HOUR, downFor=900.0, zones=("x", "y")),
        NodeGroup(name="lasts", zones=("x", "y"), capacity={"cpu": "4", "pods": "20"}),
    ),
    pods=(
        PodRule(selectors.parse("kind=job"), Behaviour(run=Span(20, 200))),
        PodRule(selectors.parse("kind=bad"), Behaviour(run=span(5), exitCode=1)),
    ),
    usual=Behaviour(start=Span(0.5, 20), ready=Span(0, 10), stop=Span(0, 20)),
)
ENDING = ("job", "bad")


def template(kind, image="i"):
    restart = "Never" if kind in ENDING else "Always"
    requests = {"requests": {"cpu": "100m"}}
    container = {"name": "c", "image": image, "resources": requests}
    spec = {"containers": [container], "restartPolicy": restart}
    return {"metadata": {"labels": {"kind": kind, "app": "x"}}, "spec": spec}


class Users:
    """Do something; what cannot be done is let be."""

    def __init__(self, world, chance):
        self.world = world
        self.client = world.client
        self.chance = chance

    async def act(self):
        what = self.chance.choice([self.deploy, self.change, self.stateful, self.job, self.remove,
                                   self.kill, self.cordon, self.cron])  # fmt: skip
        try:
            await what(self.chance.choice(NAMES))
        except (AlreadyExistsError, ConflictError, ForbiddenError, NotFoundError):
            return

    async def create(self, resource, name, spec):
        metadata = {"name": name, "namespace": "d"}
        await self.client.create(resource, {"metadata": metadata, "spec": spec})

    def workload(self, kind, name):
        body = template(kind)
        labels = {**body["metadata"]["labels"], "name": name}
        body = {**body, "metadata": {"labels": labels}}
        return {
            "replicas": self.chance.randint(0, 6),
            "selector": {"matchLabels": labels},
            "template": body,
        }

    async def deploy(self, name):
        await self.create(DEPLOYMENTS, name, self.workload("web", name))
        budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"name": name}}}
        await self.create(PODDISRUPTIONBUDGETS, name, budget)

    async def change(self, name):
        obj = await self.client.get(DEPLOYMENTS, name, "d")
        image = self.chance.choice(["i", "j", "k"])
        containers = [{**get(obj, "spec.template.spec.containers")[0], "image": image}]
        obj = evolve(obj, "spec.replicas", self.chance.randint(0, 8))
        await self.client.update(
            DEPLOYMENTS, evolve(obj, "spec.template.spec.containers", containers)
        )

    async def stateful(self, name):
        await self.create(STATEFULSETS, name, {**self.workload("db", name), "serviceName": name})

    async def job(self, name):
        kind = self.chance.choice(["job", "bad"])
        spec = {"completions": 3, "parallelism": 2, "backoffLimit": 2, "template": template(kind)}
        number = self.chance.randint(0, 999)
        await self.create(JOBS, f"{name}-{number}", {**spec, "ttlSecondsAfterFinished": 600})

    async def cron(self, name):
        made = {"spec": {"template": template("job")}}
        policy = self.chance.choice(["Allow", "Forbid", "Replace"])
        await self.create(
            CRONJOBS,
            name,
            {"schedule": "0 */3 * * *", "jobTemplate": made, "concurrencyPolicy": policy},
        )

    async def remove(self, name):
        kind = self.chance.choice([DEPLOYMENTS, STATEFULSETS, CRONJOBS, PODDISRUPTIONBUDGETS])
        policy = self.chance.choice(["Background", "Foreground"])
        await self.client.delete(kind, name, "d", options={"propagationPolicy": policy})

    async def kill(self, _name):
        if pods := self.world.cluster.objects(PODS, "d"):
            await self.client.delete(PODS, self.chance.choice(pods)["metadata"]["name"], "d")

    async def cordon(self, _name):
        node = self.chance.choice(self.world.cluster.objects(NODES))
        off = not get(node, "spec.unschedulable", default=False)
        await self.client.update(NODES, evolve(node, "spec.unschedulable", off))


def check(world):
    """Look at what must hold at any time."""
    pods = world.cluster.objects(PODS, "d")
    alive = [p for p in pods if not is_deleting(p)]
    addresses = Counter(get(p, "status.podIP") for p in pods if get(p, "status.podIP"))
    assert not [ip for ip, count in addresses.items() if count > 1]
    used = Counter(p["spec"]["nodeName"] for p in pods if get(p, "spec.nodeName"))
    assert all(count <= 110 for count in used.values())
    owners = {o["metadata"]["uid"]: o for o in world.cluster.objects(REPLICASETS, "d")}
    by_owner = Counter(get(controller_of(p), "uid") for p in alive)
    for uid, owner in owners.items():
        assert by_owner[uid] <= max(owner["spec"]["replicas"], 8)


def at_rest(world):
    """Look at what must hold when users have been quiet and all nodes were up for long."""
    pods = [p for p in world.cluster.objects(PODS, "d") if not is_deleting(p)]
    owned = Counter(get(controller_of(p), "uid") for p in pods if p["status"]["phase"] == "Running")
    for kind in (REPLICASETS, STATEFULSETS):
        for owner in world.cluster.objects(kind, "d"):
            assert owned[owner["metadata"]["uid"]] == owner["spec"]["replicas"]
            ready = owner["status"].get("readyReplicas", 0)
            assert ready == owner["spec"]["replicas"]
    jobs = world.cluster.objects(JOBS, "d")
    assert len(jobs) <= len(NAMES) * 5  # all that users made is over and gone
    names = {o["metadata"]["uid"] for k in KINDS for o in world.cluster.objects(k, "d")}
    orphans = [p for p in pods if get(controller_of(p), "uid") not in names]
    assert orphans == []


KINDS = (REPLICASETS, STATEFULSETS, JOBS)


@pytest.mark.parametrize("seed", [1])
def test_days_of_random_life_end_in_order(seed):
    async def days():
        chance = random.Random(seed)  # noqa: S311 -- the same days each time
        async with harness(root_ca="PEM") as world:
            world.run(*CONTROLLERS)
            nodes = SimulatedNodes(
                world.cluster.client("nodes"), world.informers, world.clock, RULES, beat_seconds=40
            )
            await nodes.register(3)
            world.nursery.start("nodes", nodes.run())
            scheduler = Scheduler(world.cluster.client("scheduler"), world.informers, world.clock)
            world.nursery.start("scheduler", scheduler.run())
            await world.client.create(NAMESPACES, {"metadata": {"name": "d"}})
            users = Users(world, chance)
            for _ in range(DAYS * 6):
                for _ in range(chance.randint(0, 4)):
                    await users.act()
                    await settle(chance.choice([0.01, 30, 300]))
                    check(world)
                await settle(3.5 * HOUR)
                check(world)
            for node in world.cluster.objects(NODES):
                world.cluster.write(NODES, evolve(node, "spec.unschedulable", None))
            await settle(3 * HOUR)
            while any(nodes._down):
                await settle(60)
            await settle(1000)
            at_rest(world)
            assert len([r for r in world.cluster.requests if r[1:3] == ("create", "pods")]) > 20

    run(days())
