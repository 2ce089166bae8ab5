"""Routes to nodes' networks of pods, as entries of the cluster's route tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.server.cloud.aws.api import Aws, AwsError, cluster_tag, filters
from minikube_py.server.cloud.aws.config import AwsConfig
from minikube_py.server.cloud.aws.instances import AwsInstances, instance_id, provider_id
from minikube_py.server.cloud.provider import CloudError, Route


class AwsRoutes:
    """The routes of all tables of the cluster; a route stands in each of them."""

    def __init__(self, aws: Aws, instances: AwsInstances, config: AwsConfig) -> None:
        self._aws = aws
        self._instances = instances
        self._config = config

    async def _tables(self, cluster: str) -> list[Mapping[str, Any]]:
        ids = self._config.route_tables
        wanted: dict[str, Any] = (
            {"RouteTableIds": list(ids)}
            if ids
            else {"Filters": filters(tag_key=cluster_tag(cluster))}
        )
        found = await self._aws.all("ec2", "describe_route_tables", "RouteTables", **wanted)
        if not found:
            raise CloudError(f"unable to find route table for AWS cluster: {cluster}")
        return found

    async def list(self, cluster: str) -> Sequence[Route]:
        """Return the routes to instances that stand in every table.

        One that is missing somewhere is left out, so that it is made again.
        """
        tables = await self._tables(cluster)
        entries = [
            {_destination(entry): entry for entry in table["Routes"] if _is_to_machine(entry)}
            for table in tables
        ]
        targets = {e.get("InstanceId", "") for table in entries for e in table.values()} - {""}
        ids = {one["InstanceId"]: provider_id(one) for one in await self._instances.by_ids(targets)}
        found = {}
        for number, table in enumerate(entries):
            for destination, entry in table.items():
                target = entry.get("InstanceId", "")
                everywhere = all(
                    other.get(destination, {}).get("InstanceId", "") == target for other in entries
                )
                blackhole = entry.get("State") == "blackhole"
                if everywhere or blackhole:
                    found[destination, target] = Route(
                        name=f"{tables[number]['RouteTableId']}-{destination}",
                        destination=destination,
                        provider_id=ids.get(target, ""),
                        blackhole=blackhole,
                    )
        return list(found.values())

    async def create(self, cluster: str, hint: str, route: Route) -> None:
        """Have the route in every table, whatever stands there for its destination."""
        del hint
        target = instance_id(route.provider_id)
        if not target:
            raise CloudError(f"node {route.node} has no instance yet")
        await self._instances.forward(target)
        for table in await self._tables(cluster):
            there = {_destination(entry): entry for entry in table["Routes"]}
            call = "replace_route" if route.destination in there else "create_route"
            if there.get(route.destination, {}).get("InstanceId") != target:
                await self._aws.ec2(
                    call,
                    RouteTableId=table["RouteTableId"],
                    InstanceId=target,
                    **_to(route.destination),
                )

    async def delete(self, cluster: str, route: Route) -> None:
        """Take the route out of every table."""
        for table in await self._tables(cluster):
            entries = [e for e in table["Routes"] if _destination(e) == route.destination]
            if not any(map(_is_to_machine, entries)):
                continue
            try:
                await self._aws.ec2(
                    "delete_route", RouteTableId=table["RouteTableId"], **_to(route.destination)
                )
            except AwsError as error:
                if error.code != "InvalidRoute.NotFound":
                    raise


def _destination(entry: Mapping[str, Any]) -> str:
    return str(entry.get("DestinationCidrBlock") or entry.get("DestinationIpv6CidrBlock") or "")


def _is_to_machine(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry may be ours; those to gateways never are."""
    return bool(entry.get("InstanceId") or entry.get("NetworkInterfaceId")) or (
        entry.get("State") == "blackhole"
    )


def _to(destination: str) -> dict[str, str]:
    kind = "DestinationIpv6CidrBlock" if ":" in destination else "DestinationCidrBlock"
    return {kind: destination}
