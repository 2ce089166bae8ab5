"""Namespaces: what is in them goes first, in order, and what is left is said."""

from minikube_py.api.apiregistration import APISERVICES
from minikube_py.api.core import CONFIGMAPS, EVENTS, NAMESPACES, PODS, SECRETS, SERVICEACCOUNTS
from minikube_py.api.errors import ForbiddenError, ServiceUnavailableError
from minikube_py.api.object import Key, condition_of, evolve
from minikube_py.server.controllers import namespace, root_ca, serviceaccount
from tests.harness import harness
from tests.virtual_time import settle, virtual


def obj(name, **more):
    return {"metadata": {"name": name, "namespace": "d", **more}}


async def make(world):
    await world.client.create(NAMESPACES, {"metadata": {"name": "d"}})


def state(world):
    found = world.cluster.objects(NAMESPACES)
    return found[0] if found else None


@virtual
async def test_a_namespace_goes_when_everything_in_it_is_gone():
    async with harness() as world:
        world.run(namespace.CONTROLLER)
        await make(world)
        for resource in (CONFIGMAPS, SECRETS, EVENTS):
            await world.client.create(resource, obj("a"))
        await settle()
        assert state(world)["status"]["phase"] == "Active"
        await world.client.delete(NAMESPACES, "d")
        await settle()
        assert state(world) is None
        for resource in (CONFIGMAPS, SECRETS, EVENTS):
            assert world.cluster.objects(resource) == []


@virtual
async def test_pods_go_before_everything_else():
    async with harness() as world:
        world.run(namespace.CONTROLLER)
        await make(world)
        await world.client.create(CONFIGMAPS, obj("a"))
        await world.client.create(PODS, {**obj("p"), "spec": {"nodeName": "n1"}})
        await world.client.delete(NAMESPACES, "d")
        await settle(100)
        assert len(world.cluster.objects(CONFIGMAPS)) == 1
        remaining = condition_of(state(world), "NamespaceContentRemaining")
        assert (remaining["status"], remaining["message"]) == (
            "True",
            "Some resources are remaining: pods. has 1 resource instances",
        )
        await world.client.delete(PODS, "p", "d", options={"gracePeriodSeconds": 0})
        await settle()
        assert state(world) is None


@virtual
async def test_what_has_a_finalizer_is_waited_for_without_asking_again_and_again():
    async with harness() as world:
        world.run(namespace.CONTROLLER)
        await make(world)
        await world.client.create(CONFIGMAPS, obj("held", finalizers=["test/hold"]))
        await world.client.delete(NAMESPACES, "d")
        await settle(10)
        finalizers = condition_of(state(world), "NamespaceFinalizersRemaining")
        assert finalizers["reason"] == "SomeFinalizersRemain"
        assert finalizers["message"] == (
            "Some content in the namespace has finalizers remaining: "
            "test/hold in 1 resource instances"
        )
        before = len(world.cluster.requests)
        await settle(3600)
        assert len(world.cluster.requests) == before
        held = world.cluster.table(CONFIGMAPS)[Key("d", "held")].obj
        await world.client.update(CONFIGMAPS, evolve(held, "metadata.finalizers", []))
        await settle()
        assert state(world) is None


@virtual
async def test_a_refused_deletion_is_said_and_tried_again():
    refusals = []

    def refuse(user, verb, resource, found):
        if verb == "deletecollection" and resource is SECRETS and len(refusals) < 3:
            refusals.append(verb)
            raise ForbiddenError("not now")

    async with harness() as world:
        world.run(namespace.CONTROLLER)
        await make(world)
        await world.client.create(SECRETS, obj("a"))
        world.cluster.refuse = refuse
        await world.client.delete(NAMESPACES, "d")
        await settle(0.006)
        failure = condition_of(state(world), "NamespaceDeletionContentFailure")
        assert failure["message"] == ("Failed to delete all resource types, 1 remaining: not now")
        await settle(60)
        assert state(world) is None


LISTED = {
    "resources": [
        {"name": "flunders", "namespaced": True, "verbs": ["list", "delete", "deletecollection"]},
        {"name": "fischers", "namespaced": True, "verbs": ["list", "delete"]},
        {"name": "flunders/status", "namespaced": True, "verbs": ["get"]},
        {"name": "metrics", "namespaced": True, "verbs": ["list"]},
        {"name": "wholes", "namespaced": False, "verbs": ["list", "delete"]},
    ]
}


def api_service(namespace="elsewhere", version="v1", priority=1):
    service = {"namespace": namespace, "name": "api", "port": 443}
    spec = {"group": "wardle", "version": version, "service": service}
    more = {"groupPriorityMinimum": 1, "versionPriority": priority, "insecureSkipTLSVerify": True}
    return {"metadata": {"name": f"{version}.wardle"}, "spec": {**spec, **more}}


class Wardle:
    """Another API server: what it has, by path."""

    def __init__(self, world, **objects):
        self.objects = {name: list(listed) for name, listed in objects.items()}
        self.removed = []
        self.silent = False
        self.kept = set()
        world.cluster.read = self.read
        world.cluster.remove_elsewhere = self.remove

    def read(self, path, _query):
        if self.silent:
            raise ServiceUnavailableError("service unavailable")
        if path == "/apis/wardle/v1":
            return LISTED
        names = self.objects[path.removeprefix("/apis/wardle/v1/namespaces/d/")]
        return {"items": [{"metadata": {"name": n, "finalizers": ["w/hold"]}} for n in names]}

    def remove(self, path):
        kind, _, name = path.removeprefix("/apis/wardle/v1/namespaces/d/").partition("/")
        self.removed.append(path)
        gone = {name} if name else set(self.objects[kind])
        self.objects[kind] = [n for n in self.objects[kind] if n not in gone or n in self.kept]


@virtual
async def test_what_other_api_servers_hold_goes_too():
    async with harness() as world:
        world.run(namespace.CONTROLLER)
        for version, priority in (("v1alpha1", 1), ("v1", 2)):
            await world.client.create(APISERVICES, api_service("elsewhere", version, priority))
        wardle = Wardle(world, flunders=["a", "b"], fischers=["c", "d"])
        await make(world)
        await world.client.delete(NAMESPACES, "d")
        await settle()
        assert state(world) is None
        path = "/apis/wardle/v1/namespaces/d"
        assert wardle.removed == [f"{path}/flunders", f"{path}/fischers/c", f"{path}/fischers/d"]


@virtual
async def test_what_another_server_keeps_is_said_and_looked_for_again():
    async with harness() as world:
        world.run(namespace.CONTROLLER)
        await world.client.create(APISERVICES, api_service())
        wardle = Wardle(world, flunders=["a"], fischers=[])
        wardle.kept = {"a"}
        await make(world)
        await world.client.delete(NAMESPACES, "d")
        await settle(5)
        left = condition_of(state(world), "NamespaceContentRemaining")
        assert left["message"] == (
            "Some resources are remaining: flunders.wardle has 1 resource instances"
        )
        held = condition_of(state(world), "NamespaceFinalizersRemaining")
        assert "w/hold in 1 resource instances" in held["message"]
        wardle.kept = set()
        await settle(30)
        assert state(world) is None


@virtual
async def test_a_server_that_says_nothing_holds_namespaces_up_but_not_its_own():
    async with harness() as world:
        world.run(namespace.CONTROLLER)
        await world.client.create(APISERVICES, api_service())
        wardle = Wardle(world, flunders=[], fischers=[])
        wardle.silent = True
        await make(world)
        await world.client.delete(NAMESPACES, "d")
        await settle(10)
        failed = condition_of(state(world), "NamespaceDeletionDiscoveryFailure")
        assert (failed["status"], failed["reason"]) == ("True", "DiscoveryFailed")
        assert failed["message"] == (
            "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of "
            "server APIs: wardle/v1: service unavailable"
        )
        await world.client.delete(APISERVICES, "v1.wardle")
        await world.client.create(APISERVICES, api_service("d"))
        await settle(100)
        assert state(world) is None


@virtual
async def test_another_finalizer_in_the_spec_keeps_the_namespace():
    async with harness() as world:
        world.run(namespace.CONTROLLER)
        await make(world)
        there = state(world)
        world.cluster.write(NAMESPACES, evolve(there, "spec.finalizers", ["kubernetes", "other"]))
        await world.client.delete(NAMESPACES, "d")
        await settle(10)
        assert state(world)["spec"]["finalizers"] == ["other"]


@virtual
async def test_every_namespace_has_its_account_and_its_certificates_again_when_deleted():
    async with harness(root_ca="PEM") as world:
        world.run(serviceaccount.CONTROLLER, root_ca.CONTROLLER)
        await make(world)
        await settle()
        (account,) = world.cluster.objects(SERVICEACCOUNTS)
        (bundle,) = world.cluster.objects(CONFIGMAPS)
        assert account["metadata"]["name"] == "default"
        assert (bundle["metadata"]["name"], bundle["data"]) == (
            "kube-root-ca.crt",
            {"ca.crt": "PEM"},
        )
        await world.client.delete(SERVICEACCOUNTS, "default", "d")
        await world.client.update(CONFIGMAPS, {**bundle, "data": {}})
        await settle()
        assert len(world.cluster.objects(SERVICEACCOUNTS)) == 1
        assert world.cluster.objects(CONFIGMAPS)[0]["data"] == {"ca.crt": "PEM"}


@virtual
async def test_nothing_is_made_in_a_namespace_that_goes_away():
    async with harness(root_ca="PEM") as world:
        await make(world)
        await world.client.delete(NAMESPACES, "d")
        world.run(serviceaccount.CONTROLLER, root_ca.CONTROLLER)
        await settle(10)
        assert world.cluster.objects(SERVICEACCOUNTS) == []
        assert world.cluster.objects(CONFIGMAPS) == []
