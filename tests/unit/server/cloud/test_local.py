"""The local cloud: nodes are their own machines, and their ports are shared out to services."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import EVENTS, NODES, PODS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.errors import ForbiddenError
from minikube_py.api.object import Key, evolve, get, labels_of
from minikube_py.lib.errors import StartError
from minikube_py.server.cloud import cloud_node, local_load_balancer, run
from minikube_py.server.cloud.local import make
from minikube_py.server.cloud.local_shares import (
    ENABLED,
    POOL,
    Ask,
    Machine,
    Port,
    derive,
    machine_of,
)
from minikube_py.server.cloud.nodes import EXCLUDED
from minikube_py.server.cloud.provider import CloudSetting
from tests.harness import harness
from tests.unit.server.cloud.fake_cloud import node, service
from tests.virtual_time import settle, virtual

NEW = {"key": cloud_node.UNINITIALIZED, "value": "true", "effect": "NoSchedule"}
API_PORT = 6443


def machine(name, **more):
    number = name.removeprefix("n")
    addresses = [
        {"type": "InternalIP", "address": f"10.0.0.{number}"},
        {"type": "InternalIP", "address": f"fd00::{number}"},
        {"type": "Hostname", "address": name},
    ]
    return node(name, addresses=addresses, **more)


async def start(world, *nodes):
    for each in nodes:
        await world.client.create(NODES, each)
    world.run(local_load_balancer.controller(API_PORT))
    await settle(1)


def ips(world, name="web"):
    found = world.cluster.table(SERVICES)[Key("d", name)].obj
    return [each["ip"] for each in get(found, "status.loadBalancer.ingress") or ()]


def told(world):
    events = world.cluster.objects(EVENTS)
    return [(event["involvedObject"]["name"], event["reason"]) for event in events]


async def put(world, resource, obj):
    made = await world.client.create(resource, obj)
    await settle(1)
    return made


@virtual
async def test_a_new_node_is_its_own_machine_and_keeps_its_addresses():
    async with harness() as world:
        provider = make(CloudSetting())
        world.run(*run.parts(provider, CloudSetting()))
        annotations = {"kpy.dev/zone": "attic", "kpy.dev/region": "home"}
        before = machine("n1", taints=[NEW], annotations=annotations)
        await put(world, NODES, before)
        (made,) = world.cluster.objects(NODES)
        assert get(made, "spec.providerID") == "kpy://n1"
        assert get(made, "spec.taints") == []
        assert get(made, "status.addresses") == before["status"]["addresses"]
        assert labels_of(made)["topology.kubernetes.io/zone"] == "attic"
        assert labels_of(made)["topology.kubernetes.io/region"] == "home"
        assert labels_of(made)["node.kubernetes.io/instance-type"] == "kpy"
        requests = len(world.cluster.requests)
        await settle(86400)
        assert len(world.cluster.requests) == requests


async def test_where_a_node_stands_may_be_said_by_labels_or_the_configuration(tmp_path):
    path = tmp_path / "cloud.yaml"
    path.write_text("zone: cellar\n")
    instances = make(CloudSetting(config_file=path)).instances
    assert (await instances.metadata(node())).zone == "cellar"
    labelled = node(labels={"topology.kubernetes.io/zone": "attic"})
    assert (await instances.metadata(labelled)).zone == "attic"


@pytest.mark.parametrize(
    "text", ["- a", "zone: {}", "colour: red", "zone: [", "\x00", "address_pools: [x]"]
)
def test_a_configuration_that_means_nothing_is_refused(tmp_path, text):
    path = tmp_path / "cloud.yaml"
    path.write_text(text)
    with pytest.raises(StartError, match="--cloud-config"):
        make(CloudSetting(config_file=path))


@virtual
async def test_a_service_is_reached_at_the_addresses_of_ready_nodes():
    async with harness() as world:
        await start(
            world,
            machine("n1"),
            machine("n2", ready=False),
            machine("n3", labels={EXCLUDED: ""}),
            machine("n4"),
        )
        await put(world, SERVICES, service())
        assert ips(world) == ["10.0.0.1", "10.0.0.4"]
        assert told(world) == [("web", "EnsuredLoadBalancer")]
        ready = {**world.cluster.table(NODES)[Key("", "n2")].obj, "status": machine("n2")["status"]}
        await world.client.update(NODES, ready, subresource="status")
        await settle(1)
        assert ips(world) == ["10.0.0.1", "10.0.0.2", "10.0.0.4"]
        assert told(world)[1:] == [("web", "UpdatedLoadBalancer")]
        requests = len(world.cluster.requests)
        await settle(3600)
        assert len(world.cluster.requests) == requests


@virtual
async def test_both_families_are_told_in_the_services_order():
    async with harness() as world:
        both = {
            "clusterIP": "fd01::9",
            "clusterIPs": ["fd01::9", "10.43.0.9"],
            "ipFamilyPolicy": "RequireDualStack",
        }
        await start(world, machine("n1"), machine("n2"))
        await put(world, SERVICES, service(ipFamilies=["IPv6", "IPv4"], **both))
        assert ips(world) == ["fd00::1", "fd00::2", "10.0.0.1", "10.0.0.2"]


@virtual
async def test_of_two_services_with_one_port_the_later_waits_and_is_told_until_it_is_free():
    async with harness() as world:
        await start(world, machine("n1"))
        await put(world, SERVICES, service("first"))
        await put(world, SERVICES, service("second"))
        await put(world, SERVICES, service("udp", ports=[{"port": 80, "protocol": "UDP"}]))
        assert (ips(world, "first"), ips(world, "second")) == (["10.0.0.1"], [])
        assert ips(world, "udp") == ["10.0.0.1"]
        (event,) = (e for e in world.cluster.objects(EVENTS) if e["type"] == "Warning")
        assert event["involvedObject"]["name"] == "second"
        assert event["reason"] == "PortConflict"
        assert event["message"] == "port 80/TCP of node n1 is taken by service d/first"
        await world.client.delete(SERVICES, "first", "d")
        await settle(1)
        assert ips(world, "second") == ["10.0.0.1"]


@virtual
async def test_a_service_that_has_a_load_balancer_keeps_it_when_an_older_one_begins_to_ask():
    async with harness() as world:
        await start(world, machine("n1"))
        old = await put(world, SERVICES, service("old", type="ClusterIP"))
        await put(world, SERVICES, service("young"))
        await world.client.update(SERVICES, evolve(old, "spec.type", "LoadBalancer"))
        await settle(1)
        assert (ips(world, "old"), ips(world, "young")) == ([], ["10.0.0.1"])


@virtual
@pytest.mark.parametrize("port", [API_PORT, 10250, 10256])
async def test_what_a_node_needs_itself_is_not_given_away(port):
    async with harness() as world:
        await start(world, machine("n1"))
        await put(world, SERVICES, service(port=port))
        assert ips(world) == []
        assert told(world) == [("web", "PortConflict")]


@virtual
async def test_node_ports_of_others_are_not_given_away():
    async with harness() as world:
        await start(world, machine("n1"))
        other = service("other", type="NodePort", ports=[{"port": 1, "nodePort": 30080}])
        await put(world, SERVICES, other)
        await put(world, SERVICES, service(ports=[{"port": 30080, "nodePort": 30081}]))
        own = service("own", ports=[{"port": 30090, "nodePort": 30090}])
        await put(world, SERVICES, own)
        assert (ips(world), ips(world, "own")) == ([], ["10.0.0.1"])


@virtual
async def test_a_node_where_a_pod_has_the_port_is_left_out_until_the_pod_ends():
    async with harness() as world:
        await start(world, machine("n1"), machine("n2"))
        port = {"containerPort": 8080, "hostPort": 80, "protocol": "TCP"}
        containers = [{"name": "c", "image": "i", "ports": [port]}]
        pod = {
            "metadata": {"name": "p", "namespace": "d"},
            "spec": {"containers": containers, "nodeName": "n1"},
        }
        made = await put(world, PODS, pod)
        await put(world, SERVICES, service())
        assert ips(world) == ["10.0.0.2"]
        done = {**made, "status": {"phase": "Succeeded"}}
        await world.client.update(PODS, done, subresource="status")
        await settle(1)
        assert ips(world) == ["10.0.0.1", "10.0.0.2"]


def endpoints(*nodes, ready=True):
    return {
        "metadata": {
            "name": "web-1",
            "namespace": "d",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.42.0.9"], "nodeName": name, "conditions": {"ready": ready}}
            for name in nodes
        ],
    }


@virtual
async def test_with_a_local_policy_only_nodes_with_endpoints_are_told():
    async with harness() as world:
        await start(world, machine("n1"), machine("n2"))
        await put(world, SERVICES, service(externalTrafficPolicy="Local"))
        assert ips(world) == []
        made = await put(world, ENDPOINTSLICES, endpoints("n2"))
        assert ips(world) == ["10.0.0.2"]
        await world.client.update(
            ENDPOINTSLICES, {**made, "endpoints": endpoints("n1")["endpoints"]}
        )
        await settle(1)
        assert ips(world) == ["10.0.0.1"]


@virtual
async def test_a_service_that_cannot_be_told_does_not_hold_up_others():
    async with harness() as world:
        await start(world, machine("n1"))

        def refuse(user, verb, resource, obj):
            if verb == "patch/status" and get(obj, "metadata.uid") == bad["metadata"]["uid"]:
                raise ForbiddenError("a webhook says no")

        bad = await world.client.create(SERVICES, service("a"))
        world.cluster.refuse = refuse
        await put(world, SERVICES, service("b", port=81))
        assert (ips(world, "a"), ips(world, "b")) == ([], ["10.0.0.1"])


@virtual
async def test_a_service_of_a_class_or_another_type_is_not_served():
    async with harness() as world:
        await start(world, machine("n1"))
        await put(world, SERVICES, service("classy", loadBalancerClass="example.com/vip"))
        made = await put(world, SERVICES, service())
        assert ips(world, "classy") == []
        now = world.cluster.table(SERVICES)[Key("d", "web")].obj
        assert get(now, "metadata.finalizers") is None
        await world.client.update(SERVICES, {**now, "spec": {**made["spec"], "type": "ClusterIP"}})
        await settle(1)
        assert ips(world) == []


def ask(name, port=80, **more):
    values = {
        "key": Key("d", name),
        "rank": (True, more.pop("created", "2026"), Key("d", name)),
        "ports": (Port("TCP", port),),
        "families": ("IPv4",),
        "pool": "",
        "serving": None,
    }
    return Ask(**(values | more))


def nobody(*_):
    return ""


def test_labelled_nodes_are_the_only_ones_and_pools_keep_to_themselves():
    machines = [
        Machine("a", ("10.0.0.1",), enabled=True, pool="x"),
        Machine("b", ("10.0.0.2",), enabled=True, pool="y"),
        Machine("c", ("10.0.0.3",), enabled=False, pool="x"),
    ]
    asks = [ask("one", pool="x"), ask("two", pool="y"), ask("three", port=81)]
    given = {key.name: verdict.addresses for key, verdict in derive(asks, machines, nobody).items()}
    assert given == {"one": ("10.0.0.1",), "two": ("10.0.0.2",), "three": ("10.0.0.1", "10.0.0.2")}


def test_the_labels_that_say_so_are_read():
    found = machine_of(machine("n1", labels={ENABLED: "true", POOL: "x"}))
    assert found == Machine("n1", ("10.0.0.1", "fd00::1"), enabled=True, pool="x")


PORTS = st.lists(st.integers(1, 4), min_size=1, max_size=3, unique=True)


@given(
    wanted=st.lists(st.tuples(PORTS, st.booleans(), st.sampled_from(["IPv4", "IPv6"])), max_size=6),
    machines=st.integers(0, 3),
    taken=st.sets(st.tuples(st.integers(0, 2), st.integers(1, 4))),
)
def test_no_port_is_given_twice_and_none_that_is_free_is_kept_back(wanted, machines, taken):
    there = [
        Machine(str(n), (f"10.0.0.{n}", f"fd00::{n}"), enabled=False, pool="")
        for n in range(machines)
    ]
    asks = [
        ask(str(n), ports=tuple(Port("TCP", p) for p in ports), families=(family,), rank=(has, n))
        for n, (ports, has, family) in enumerate(wanted)
    ]
    verdicts = derive(asks, there, lambda m, p, _: "x" if (int(m.name), p.number) in taken else "")
    given_to = {}
    for each in asks:
        for address in verdicts[each.key].addresses:
            for port in each.ports:
                assert (address, port) not in given_to
                given_to[address, port] = each.key
    for each in asks:
        for place in there:
            address = place.addresses[each.families[0] == "IPv6"]
            free = all(
                (int(place.name), port.number) not in taken
                and given_to.get((address, port), each.key) == each.key
                for port in each.ports
            )
            assert free == (address in verdicts[each.key].addresses)
            assert free or verdicts[each.key].conflict
