"""The cloud `aws` against Amazon's API, as moto's server plays it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.lib.tallies import Tallies
from minikube_py.server.cloud import config_file
from minikube_py.server.cloud.aws.api import Aws
from minikube_py.server.cloud.aws.config import AwsConfig
from minikube_py.server.cloud.aws.instances import AwsInstances
from minikube_py.server.cloud.aws.load_balancers import AwsLoadBalancers
from minikube_py.server.cloud.aws.provider import make
from minikube_py.server.cloud.aws.routes import AwsRoutes
from minikube_py.server.cloud.provider import CloudError, CloudSetting, Provider, Route
from tests.integration.amazon import CLUSTER, CREDENTIALS, REGION, TAG, Amazon, Site


@pytest.fixture(scope="module")
def amazon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Amazon]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        made = Amazon(tmp_path_factory.mktemp("amazon") / "log")
        yield made
        made.close()


@pytest.fixture
def site(amazon: Amazon) -> Site:
    amazon.reset()
    return Site(amazon)


@pytest.fixture(scope="module")
def provider(amazon: Amazon, tmp_path_factory: pytest.TempPathFactory) -> Provider:
    """The provider; one for all tests, because boto3 takes half a second to make its clients."""
    path = tmp_path_factory.mktemp("provider") / "cloud.yaml"
    path.write_text(f"region: {REGION}\nendpoint: {amazon.url}\n")
    return make(CloudSetting(config_file=path, cluster_name=CLUSTER))


def service(*ports: Any, uid: str = "0b5e3c7a-1111-2222-3333-444455556666", **spec: Any) -> Any:
    metadata = {"name": "web", "namespace": "d", "uid": uid}
    metadata["annotations"] = spec.pop("annotations", {})
    return {
        "metadata": metadata,
        "spec": {
            "type": "LoadBalancer",
            "ports": [
                {"protocol": protocol, "port": port, "nodePort": node_port}
                for protocol, port, node_port in ports or (("TCP", 80, 30080),)
            ],
            **spec,
        },
    }


async def test_an_instance_is_found_by_name_and_then_by_its_id(
    provider: Provider, site: Site
) -> None:
    instances = provider.instances
    found = await instances.metadata(site.node(0))
    first = site.instances[0]
    assert found.provider_id == f"aws:///{REGION}a/{first['InstanceId']}"
    assert (found.instance_type, found.zone, found.region) == ("m5.large", f"{REGION}a", REGION)
    shown = {(one["type"], one["address"]) for one in found.addresses}
    assert ("InternalIP", first["PrivateIpAddress"]) in shown
    assert ("InternalDNS", first["PrivateDnsName"]) in shown
    assert ("Hostname", first["PrivateDnsName"]) in shown
    renamed = {**site.known(0), "metadata": {"name": "another"}}
    assert (await instances.metadata(renamed)).provider_id == found.provider_id
    with pytest.raises(CloudError, match="instance not found for node nobody"):
        await instances.metadata({"metadata": {"name": "nobody"}})


async def test_stopped_instances_are_off_and_terminated_ones_do_not_exist(
    provider: Provider, site: Site
) -> None:
    instances, node = provider.instances, site.known(0)
    assert await instances.exists(node)
    assert not await instances.is_shut_down(node)
    ids = [site.instances[0]["InstanceId"]]
    site.ec2.stop_instances(InstanceIds=ids)
    assert await instances.exists(node)
    assert await instances.is_shut_down(node)
    site.ec2.terminate_instances(InstanceIds=ids)
    assert not await instances.exists(node)
    never = {**node, "spec": {"providerID": "aws:///us-east-1a/i-0123456789abcdef0"}}
    assert not await instances.exists(never)


async def test_routes_are_made_found_replaced_and_deleted(provider: Provider, site: Site) -> None:
    routes = provider.routes
    assert await routes.list(CLUSTER) == []
    first, second = (site.known(number)["spec"]["providerID"] for number in (0, 1))
    wanted = Route(destination="10.42.1.0/24", node="n1", provider_id=first)
    await routes.create(CLUSTER, "hint", wanted)
    await routes.create(CLUSTER, "hint", wanted)
    (found,) = await routes.list(CLUSTER)
    assert (found.destination, found.provider_id) == ("10.42.1.0/24", first)
    assert not found.blackhole
    attribute = site.ec2.describe_instance_attribute(
        InstanceId=site.instances[0]["InstanceId"], Attribute="sourceDestCheck"
    )
    assert attribute["SourceDestCheck"] == {"Value": False}
    await routes.create(CLUSTER, "hint", Route(destination="10.42.1.0/24", provider_id=second))
    assert site.routes()["10.42.1.0/24"] == site.instances[1]["InstanceId"]
    for _ in range(2):
        await routes.delete(CLUSTER, found)
    assert await routes.list(CLUSTER) == []
    assert "0.0.0.0/0" in site.routes()


async def test_a_load_balancer_is_made_whole_and_again_without_a_change(
    provider: Provider, site: Site
) -> None:
    balancers = provider.load_balancers
    wanted = service(("TCP", 80, 30080), ("UDP", 53, 30053))
    assert await balancers.get(CLUSTER, wanted) is None
    nodes = [site.known(0), site.known(1)]
    for _ in range(2):
        status = await balancers.ensure(CLUSTER, wanted, nodes)
        (made,) = site.balancers()
        assert status == {"ingress": [{"hostname": made["DNSName"]}]}
        assert made["LoadBalancerName"] == "a0b5e3c7a111122223333444455556666"[:32]
        assert (made["Type"], made["Scheme"]) == ("network", "internet-facing")
        assert {z["SubnetId"] for z in made["AvailabilityZones"]} == set(site.subnets)
        assert site.listeners() == {80: "TCP 30080", 53: "UDP 30053"}
        ids = {instance["InstanceId"] for instance in site.instances}
        assert site.targets() == {30080: ids, 30053: ids}
        assert site.rules() == {
            ("tcp", 30080, "0.0.0.0/0"),
            ("udp", 30053, "0.0.0.0/0"),
            *(("tcp", port, f"10.0.{n}.0/24") for port in (30080, 10256) for n in (0, 1)),
        }
    arns = [made["LoadBalancerArn"], *(group["TargetGroupArn"] for group in site.groups())]
    for described in site.elb.describe_tags(ResourceArns=arns)["TagDescriptions"]:
        tags = {tag["Key"]: tag["Value"] for tag in described["Tags"]}
        assert tags == {TAG["Key"]: "owned", "kubernetes.io/service-name": "d/web"}
    assert await balancers.get(CLUSTER, wanted) == status


async def test_a_load_balancer_follows_its_service(provider: Provider, site: Site) -> None:
    balancers, nodes = provider.load_balancers, [site.known(0), site.known(1)]
    await balancers.ensure(CLUSTER, service(("TCP", 80, 30080), ("TCP", 81, 30081)), nodes)
    local = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}
    ranges = {"loadBalancerSourceRanges": ["192.0.2.0/24"]}
    inside = {"annotations": {"service.beta.kubernetes.io/aws-load-balancer-internal": "true"}}
    changed = service(("TCP", 80, 30090), **local, **ranges, **inside)
    await balancers.ensure(CLUSTER, changed, nodes[:1])
    assert site.listeners() == {80: "TCP 30090"}
    assert site.targets() == {30090: {site.instances[0]["InstanceId"]}}
    (group,) = site.groups()
    assert group["HealthCheckProtocol"] == "HTTP"
    assert (group["HealthCheckPort"], group["HealthCheckPath"]) == ("32000", "/healthz")
    assert site.rules() == {
        ("tcp", 30090, "192.0.2.0/24"),
        ("tcp", 32000, "10.0.0.0/24"),
        ("tcp", 32000, "10.0.1.0/24"),
    }
    (balancer,) = site.balancers()
    assert balancer["Scheme"] == "internal"
    await balancers.update(CLUSTER, changed, nodes[1:])
    assert site.targets() == {30090: {site.instances[1]["InstanceId"]}}


async def test_all_of_a_load_balancer_goes_and_nothing_of_another(
    provider: Provider, site: Site
) -> None:
    balancers, nodes = provider.load_balancers, [site.known(0)]
    other = service(("UDP", 53, 30054), uid="ffffffff-1111-2222-3333-444455556666")
    first = service(("UDP", 53, 30053))
    for each in (first, other):
        await balancers.ensure(CLUSTER, each, nodes)
    for _ in range(2):
        await balancers.delete(CLUSTER, first)
        assert await balancers.get(CLUSTER, first) is None
    assert site.listeners() == {53: "UDP 30054"}
    assert ("tcp", 10256, "10.0.0.0/24") in site.rules()
    await balancers.delete(CLUSTER, other)
    assert (site.balancers(), site.groups(), site.rules()) == ([], [], set())


class Failing(Aws):
    """Ends after the n-th call that changes something; nobody hears what it gave."""

    left = 0

    async def _call(self, service: str, call: str, parameters: Any) -> Any:
        answer = await super()._call(service, call, parameters)
        if not call.startswith("describe"):
            self.left -= 1
            if self.left == 0:
                raise asyncio.CancelledError
        return answer


async def test_whatever_step_we_end_at_the_next_attempt_completes_it(
    provider: Provider, site: Site, amazon: Amazon
) -> None:
    config = AwsConfig(region=REGION, endpoint=amazon.url)
    balancers, nodes = provider.load_balancers, [site.known(0)]
    at, complete, aws = 0, False, Failing(config)
    dying = AwsLoadBalancers(aws, AwsInstances(aws), config)
    while not complete:
        at += 1
        aws.left = at
        wanted = service(uid=f"{at:08x}-1111-2222-3333-444455556666")
        try:
            await dying.ensure(CLUSTER, wanted, nodes)
            complete = aws.left > 0
        except asyncio.CancelledError:
            if at % 2:  # the service goes, before anybody has completed it
                await balancers.delete(CLUSTER, wanted)
                assert await balancers.get(CLUSTER, wanted) is None
                continue
        await balancers.ensure(CLUSTER, wanted, nodes)
        assert site.listeners() == {80: "TCP 30080"}
        assert len(site.balancers()) == len(site.groups()) == 1
        aws.left = at // 2
        try:
            await dying.delete(CLUSTER, wanted)
        except asyncio.CancelledError:
            await balancers.delete(CLUSTER, wanted)
        assert (site.balancers(), site.groups(), site.rules()) == ([], [], set())
    assert at > 5


async def test_what_nlb_does_not_have_is_refused(provider: Provider, site: Site) -> None:
    balancers, nodes = provider.load_balancers, [site.known(0)]
    for ports, why in (
        ((("SCTP", 80, 30080),), "protocol SCTP of port 80 is not supported by NLB"),
        ((("TCP", 80, 0),), "port 80 has no node port"),
        ((("TCP", 80, 30080), ("UDP", 80, 30081)), "port 80 has two protocols"),
    ):
        with pytest.raises(CloudError, match=why):
            await balancers.ensure(CLUSTER, service(*ports), nodes)
    with pytest.raises(CloudError, match="could not find any suitable subnets"):
        await balancers.ensure("other", service(), nodes)
    with pytest.raises(CloudError, match="unable to find route table for AWS cluster: other"):
        await provider.routes.list("other")
    assert (site.balancers(), site.groups(), site.rules()) == ([], [], set())


async def test_an_api_that_does_not_answer_is_an_error_of_the_cloud(site: Site) -> None:
    tallies = Tallies()
    aws = Aws(AwsConfig(region=REGION, endpoint="http://127.0.0.1:1"), tallies)
    with pytest.raises(CloudError, match="Could not connect"):
        await AwsRoutes(aws, AwsInstances(aws), AwsConfig()).list(CLUSTER)
    name = "cloudprovider_aws_api_request_errors"
    assert f'{name}{{request="describe_route_tables"}} 1' in list(tallies.lines())


@pytest.mark.parametrize("text", ["- a", "region: []", "colour: red", "subnets: a", "a: ["])
def test_a_configuration_that_means_nothing_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cloud.yaml"
    path.write_text(text)
    with pytest.raises(StartError, match="--cloud-config"):
        config_file.read(path, AwsConfig)
