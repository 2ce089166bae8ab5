"""Network Load Balancers before services: target groups, the load balancer, listeners, rules.

`ensure` brings each to what it should be, in an order in which whatever is there after any step
is found by the next attempt: by name, by the prefix of its name, or by its description.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj, annotations_of
from minikube_py.lib.tasks import together
from minikube_py.server.cloud.aws.api import Aws, AwsError, cluster_tag, filters
from minikube_py.server.cloud.aws.balancer_plan import (
    SUBNETS,
    Target,
    choose_subnets,
    crosses_zones,
    is_internal,
    prefix,
    tags,
    targets,
)
from minikube_py.server.cloud.aws.config import AwsConfig
from minikube_py.server.cloud.aws.firewall import Firewall
from minikube_py.server.cloud.aws.firewall_plan import rules_of
from minikube_py.server.cloud.aws.instances import AwsInstances, Instance
from minikube_py.server.cloud.provider import CloudError, load_balancer_name

SOON_SECONDS = 5.0
"""What is in use by something that was just deleted can be deleted by then."""
IN_USE = ("ResourceInUse", "ResourceInUseException", "DependencyViolation")
ABSENT = ("LoadBalancerNotFound", "TargetGroupNotFound")
Found = Mapping[str, Any]


class AwsLoadBalancers:
    """The load balancers of one region."""

    def __init__(self, aws: Aws, instances: AwsInstances, config: AwsConfig) -> None:
        self._aws = aws
        self._instances = instances
        self._config = config
        self._firewall = Firewall(aws)

    async def get(self, cluster: str, service: Obj) -> Obj | None:
        """Return how the service is reached, or None where nothing is left of it."""
        del cluster
        balancer = await self._balancer(service)
        if balancer is not None:
            return _status(balancer)
        if await self._groups(service):
            return {}
        groups = await self._aws.all("ec2", "describe_security_groups", "SecurityGroups")
        return {} if any(rules_of(group, service) for group in groups) else None

    async def ensure(self, cluster: str, service: Obj, nodes: Sequence[Obj]) -> Obj:
        """Make, or bring up to date, all of it."""
        wanted = targets(service)
        subnets = await self._subnets(cluster, service)
        instances = await self._instances.of_nodes(nodes)
        await self._firewall.open(cluster, service, [s["CidrBlock"] for s in subnets], instances)
        groups = await self._ensure_groups(cluster, service, wanted, subnets[0]["VpcId"])
        await self._ensure_targets(groups, wanted, instances)
        balancer = await self._ensure_balancer(cluster, service, subnets)
        await self._ensure_listeners(cluster, service, balancer, groups, wanted)
        names = {target.name for target in wanted}
        await self._delete_groups(group for name, group in groups.items() if name not in names)
        return _status(balancer)

    async def update(self, cluster: str, service: Obj, nodes: Sequence[Obj]) -> None:
        """Have it send to these nodes."""
        wanted = targets(service)
        subnets = await self._subnets(cluster, service)
        instances = await self._instances.of_nodes(nodes)
        await self._firewall.open(cluster, service, [s["CidrBlock"] for s in subnets], instances)
        groups = {_name(group): group for group in await self._groups(service)}
        if missing := [target.name for target in wanted if target.name not in groups]:
            raise CloudError(f"target groups {', '.join(missing)} are missing")
        await self._ensure_targets(groups, wanted, instances)

    async def delete(self, cluster: str, service: Obj) -> None:
        """Delete whatever there is of it."""
        balancer = await self._balancer(service)
        if balancer is not None:
            arn = balancer["LoadBalancerArn"]
            await self._elb(ABSENT, "delete_load_balancer", LoadBalancerArn=arn)
        await self._delete_groups(await self._groups(service))
        await self._firewall.close(cluster, service)

    # --- the load balancer and its listeners ------------------------------------------------

    async def _balancer(self, service: Obj) -> Found | None:
        try:
            found = await self._aws.elb(
                "describe_load_balancers", Names=[load_balancer_name(service)]
            )
        except AwsError as error:
            if error.code in ABSENT:
                return None
            raise
        return next(iter(found["LoadBalancers"]), None)

    async def _ensure_balancer(self, cluster: str, service: Obj, subnets: Sequence[Found]) -> Found:
        scheme = "internal" if is_internal(service) else "internet-facing"
        ids = [subnet["SubnetId"] for subnet in subnets]
        balancer = await self._balancer(service)
        if balancer is not None and balancer["Scheme"] != scheme:
            # Amazon has no other way to change that; the name is free when it is gone.
            await self._elb(
                ABSENT, "delete_load_balancer", LoadBalancerArn=balancer["LoadBalancerArn"]
            )
            balancer = None
        if balancer is None:
            made = await self._elb(
                (),
                "create_load_balancer",
                Name=load_balancer_name(service),
                Type="network",
                Scheme=scheme,
                Subnets=ids,
                Tags=tags(cluster, service),
            )
            balancer = made["LoadBalancers"][0]
        arn = balancer["LoadBalancerArn"]
        if {zone["SubnetId"] for zone in balancer["AvailabilityZones"]} != set(ids):
            await self._elb((), "set_subnets", LoadBalancerArn=arn, Subnets=ids)
        await self._set_cross_zone(arn, "true" if crosses_zones(service) else "false")
        return balancer

    async def _set_cross_zone(self, arn: str, value: str) -> None:
        key = "load_balancing.cross_zone.enabled"
        found = await self._aws.elb("describe_load_balancer_attributes", LoadBalancerArn=arn)
        now = {each["Key"]: each["Value"] for each in found["Attributes"]}
        if now.get(key, "false") != value:
            wanted = [{"Key": key, "Value": value}]
            await self._elb(
                (), "modify_load_balancer_attributes", LoadBalancerArn=arn, Attributes=wanted
            )

    async def _ensure_listeners(
        self,
        cluster: str,
        service: Obj,
        balancer: Found,
        groups: Mapping[str, Found],
        wanted: Iterable[Target],
    ) -> None:
        arn = balancer["LoadBalancerArn"]
        listeners = await self._aws.all(
            "elbv2", "describe_listeners", "Listeners", LoadBalancerArn=arn
        )
        there = {listener["Port"]: listener for listener in listeners}
        ports = {target.port for target in wanted}
        for port in there.keys() - ports:
            await self._elb((), "delete_listener", ListenerArn=there[port]["ListenerArn"])
        for target in wanted:
            action = {"Type": "forward", "TargetGroupArn": groups[target.name]["TargetGroupArn"]}
            what = {
                "Port": target.port,
                "Protocol": target.protocol,
                "DefaultActions": [action],
            }
            listener = there.get(target.port)
            if listener is None:
                more = {"LoadBalancerArn": arn, "Tags": tags(cluster, service)}
                await self._elb((), "create_listener", **what, **more)
            elif not _forwards(listener, target, action["TargetGroupArn"]):
                more = {"ListenerArn": listener["ListenerArn"]}
                await self._elb((), "modify_listener", **what, **more)

    # --- target groups ----------------------------------------------------------------------

    async def _groups(self, service: Obj) -> list[Found]:
        """Return the target groups of a service, also those that it needs no longer."""
        found = await self._aws.all("elbv2", "describe_target_groups", "TargetGroups")
        return [group for group in found if _name(group).startswith(prefix(service))]

    async def _ensure_groups(
        self, cluster: str, service: Obj, wanted: Iterable[Target], vpc: str
    ) -> dict[str, Found]:
        """Return the target groups by name, also those that are not needed any longer."""
        there = {_name(group): group for group in await self._groups(service)}
        for target in wanted:
            group = there.get(target.name)
            if group is None:
                made = await self._elb(
                    (),
                    "create_target_group",
                    Name=target.name,
                    Protocol=target.protocol,
                    Port=target.node_port,
                    VpcId=vpc,
                    TargetType="instance",
                    Tags=tags(cluster, service),
                    **target.check.parameters(),
                )
                there[target.name] = made["TargetGroups"][0]
            elif any(group.get(k) != v for k, v in target.check.parameters().items()):
                arn = group["TargetGroupArn"]
                check = target.check.parameters()
                await self._elb((), "modify_target_group", TargetGroupArn=arn, **check)
        return there

    async def _ensure_targets(
        self, groups: Mapping[str, Found], wanted: Iterable[Target], instances: Iterable[Instance]
    ) -> None:
        ids = {instance["InstanceId"] for instance in instances}
        outcomes = await together(
            self._set_targets(groups[target.name]["TargetGroupArn"], ids) for target in wanted
        )
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _set_targets(self, arn: str, ids: set[str]) -> None:
        found = await self._aws.elb("describe_target_health", TargetGroupArn=arn)
        there = {
            each["Target"]["Id"]
            for each in found["TargetHealthDescriptions"]
            if each["TargetHealth"]["State"] != "draining"
        }
        for call, some in (
            ("register_targets", ids - there),
            ("deregister_targets", there - ids),
        ):
            if some:
                what = [{"Id": one} for one in sorted(some)]
                await self._elb((), call, TargetGroupArn=arn, Targets=what)

    async def _delete_groups(self, groups: Iterable[Found]) -> None:
        for group in groups:
            arn = group["TargetGroupArn"]
            await self._elb(ABSENT, "delete_target_group", TargetGroupArn=arn)

    # --- where it stands --------------------------------------------------------------------

    async def _subnets(self, cluster: str, service: Obj) -> list[Found]:
        """Return the subnets of the load balancer, one for each zone."""
        given = annotations_of(service).get(SUBNETS, "").replace(" ", "")
        ids = [one for one in given.split(",") if one] or list(self._config.subnets)
        tagged = filters(tag_key=cluster_tag(cluster))
        wanted: dict[str, Any] = {"SubnetIds": ids} if ids else {"Filters": tagged}
        found = await self._aws.all("ec2", "describe_subnets", "Subnets", **wanted)
        chosen = ids or choose_subnets(found, internal=is_internal(service))
        if not chosen:
            raise CloudError("could not find any suitable subnets for creating the ELB")
        return [subnet for subnet in found if subnet["SubnetId"] in chosen]

    async def _elb(self, harmless: Sequence[str], call: str, **parameters: Any) -> Any:
        """Call; a code that says that it is done already is no error."""
        try:
            return await self._aws.elb(call, **parameters)
        except AwsError as error:
            if error.code in harmless:
                return None
            if error.code in IN_USE:
                raise AwsError(str(error), error.code, SOON_SECONDS) from error
            raise


def _name(group: Found) -> str:
    return str(group["TargetGroupName"])


def _forwards(listener: Found, target: Target, arn: str) -> bool:
    actions = listener.get("DefaultActions") or ()
    targets = [action.get("TargetGroupArn") for action in actions]
    return listener["Protocol"] == target.protocol and targets == [arn]


def _status(balancer: Found) -> Obj:
    return {"ingress": [{"hostname": balancer["DNSName"]}]}
