"""Keeps the rules of the nodes' security groups as `firewall_plan` says."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.server.cloud.aws.api import Aws, AwsError, cluster_tag, tags_of
from minikube_py.server.cloud.aws.firewall_plan import Rule, node_group, plan, rules, rules_of
from minikube_py.server.cloud.aws.instances import Instance

Group = Mapping[str, Any]


class Firewall:
    """The security groups of one region.

    All of them are looked at: an instance may have changed its groups since rules were made.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    async def groups(self) -> list[Group]:
        """Return all security groups."""
        return await self._aws.all("ec2", "describe_security_groups", "SecurityGroups")

    async def open(
        self, cluster: str, service: Obj, networks: Sequence[str], instances: Iterable[Instance]
    ) -> None:
        """Let these instances, and no others, be reached by clients and health checks."""
        groups = await self.groups()
        tagged = {g["GroupId"] for g in groups if cluster_tag(cluster) in tags_of(g)}
        opened = {node_group(one.get("SecurityGroups") or (), tagged) for one in instances}
        needed = rules(service, networks)
        for group in groups:
            if group["GroupId"] in opened:
                await self._change(cluster, group, service, needed, networks)
            elif rules_of(group, service):
                await self._change(cluster, group, service, (), None)

    async def close(self, cluster: str, service: Obj) -> None:
        """Take all rules of a service away."""
        for group in await self.groups():
            if rules_of(group, service):
                await self._change(cluster, group, service, (), None)

    async def _change(
        self,
        cluster: str,
        group: Group,
        service: Obj,
        needed: Iterable[Rule],
        networks: Sequence[str] | None,
    ) -> None:
        change = plan(cluster, group, service, needed, networks)
        # What is shared goes first, for nobody finds it once the service's own rules are gone.
        drop = sorted(change.drop, key=lambda rule: rule in rules_of(group, service))
        for call, some, harmless in (
            ("revoke_security_group_ingress", drop, "InvalidPermission.NotFound"),
            ("authorize_security_group_ingress", sorted(change.add), "InvalidPermission.Duplicate"),
        ):
            for rule in some:
                permissions = [rule.permission()]
                try:
                    await self._aws.ec2(call, GroupId=group["GroupId"], IpPermissions=permissions)
                except AwsError as error:
                    if error.code != harmless:
                        raise
