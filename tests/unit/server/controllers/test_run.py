"""All controllers in one process: identities, and a part that fails and starts again."""

from minikube_py.api.core import CONFIGMAPS, NAMESPACES, NODES, PODS, SERVICEACCOUNTS
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.client.controller import Controller, Settings
from minikube_py.lib.tasks import Nursery
from minikube_py.server.controllers import CONTROLLERS
from minikube_py.server.controllers.run import READER, run_controllers, user_of
from minikube_py.server.scheduler.scheduler import run_scheduler
from tests.kubelet_model import node
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock, settle, virtual

ACCOUNT = "system:serviceaccount:kube-system:"


async def nothing(key, ctx):
    return None


@virtual
async def test_every_controller_writes_as_its_own_account_and_all_read_as_one():
    clock = VirtualClock()
    cluster = ModelCluster(clock)
    asked = []

    def client_for(user):
        asked.append(user)
        return cluster.client(user)

    async with Nursery("test") as nursery:
        loops = run_controllers(client_for, Scheme(BUILTIN), clock, Settings(root_ca="PEM"))
        nursery.start("controllers", loops)
        await settle()
        await cluster.client().create(NAMESPACES, {"metadata": {"name": "d"}})
        await settle()
        assert len(cluster.objects(SERVICEACCOUNTS)) == len(cluster.objects(CONFIGMAPS)) == 1
    writers = {user for user, verb, *_ in cluster.requests if user != "admin" and verb}
    assert writers == {
        f"{ACCOUNT}service-account-controller",
        f"{ACCOUNT}root-ca-cert-publisher",
    }
    assert asked[0] == READER
    assert set(asked[1:]) == {user_of(part) for part in CONTROLLERS}


@virtual
async def test_a_controller_that_fails_starts_again_and_the_others_go_on():
    starts, looked = [], []

    def start(ctx):
        starts.append(ctx)
        if len(starts) < 3:
            raise RuntimeError("cannot start")

    async def look(key, ctx):
        looked.append(key)

    failing = Controller(name="failing", watches=NAMESPACES, reconcile=nothing, start=start)
    working = Controller(name="working", watches=NAMESPACES, reconcile=look)
    clock = VirtualClock()
    cluster = ModelCluster(clock)
    async with Nursery("test") as nursery:
        loops = run_controllers(
            cluster.client, Scheme(BUILTIN), clock, Settings(), (failing, working)
        )
        nursery.start("controllers", loops)
        await cluster.client().create(NAMESPACES, {"metadata": {"name": "d"}})
        await settle(10)
    assert len(starts) == 3
    assert starts[0].memory is not starts[1].memory
    assert len(looked) == 1


def test_names_are_unique_and_accounts_are_upstreams():
    names = [part.name for part in CONTROLLERS]
    assert len(set(names)) == len(names)
    users = {part.name: user_of(part) for part in CONTROLLERS}
    assert users["taint-eviction-controller"] == f"{ACCOUNT}node-controller"
    assert users["deployment-controller"] == f"{ACCOUNT}deployment-controller"


@virtual
async def test_a_scheduler_runs_with_informers_of_its_own():
    clock = VirtualClock()
    cluster = ModelCluster(clock)
    async with Nursery("test") as nursery:
        nursery.start("scheduler", run_scheduler(cluster.client("scheduler"), clock))
        client = cluster.client()
        await client.create(NODES, node("n1"))
        spec = {"containers": [{"name": "c", "image": "i"}]}
        await client.create(PODS, {"metadata": {"name": "p", "namespace": "d"}, "spec": spec})
        await settle()
        assert cluster.objects(PODS)[0]["spec"]["nodeName"] == "n1"
