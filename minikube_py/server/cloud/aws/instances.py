"""EC2 instances behind nodes: found by providerID `aws:///ZONE/ID`, else by private DNS name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj, get
from minikube_py.server.cloud.aws.api import Aws, AwsError, filters
from minikube_py.server.cloud.provider import CloudError, InstanceMetadata

SCHEME = "aws://"
ALIVE = ("pending", "running", "shutting-down", "stopping", "stopped")
"""States of an instance whose name still counts."""
IDS_MAX = 200
"""Values that one filter of EC2 takes."""
Instance = Mapping[str, Any]


class AwsInstances:
    """The instances of one region."""

    polled = True

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    async def exists(self, node: Obj) -> bool:
        """Return whether the instance is there and not terminated."""
        found = await self._find(node)
        return found is not None and found["State"]["Name"] != "terminated"

    async def is_shut_down(self, node: Obj) -> bool:
        """Return whether the instance is stopped."""
        found = await self._find(node)
        return found is not None and found["State"]["Name"] == "stopped"

    async def metadata(self, node: Obj) -> InstanceMetadata:
        """Return what is known of the instance."""
        found = await self._find(node)
        if found is None:
            raise CloudError(f"instance not found for node {node['metadata']['name']}")
        zone = found["Placement"]["AvailabilityZone"]
        return InstanceMetadata(
            provider_id=provider_id(found),
            instance_type=found["InstanceType"],
            addresses=addresses(found),
            zone=zone,
            region=self._aws.region,
        )

    async def _find(self, node: Obj) -> Instance | None:
        known = instance_id(get(node, "spec.providerID", ""))
        if known:
            found = await self.by_ids([known])
        else:
            # Amazon's older names have no instance id in them, so the name is looked for.
            name = node["metadata"]["name"]
            wanted = filters(private_dns_name=name, instance_state_name=ALIVE)
            found = await self._describe(wanted)
        return found[0] if found else None

    async def by_ids(self, ids: Iterable[str]) -> list[Instance]:
        """Return the instances of these ids that there are."""
        wanted = sorted(set(ids))
        found: list[Instance] = []
        for start in range(0, len(wanted), IDS_MAX):
            some = wanted[start : start + IDS_MAX]
            found += await self._describe(filters(instance_id=some))
        return found

    async def of_nodes(self, nodes: Iterable[Obj]) -> list[Instance]:
        """Return the instances of nodes that are initialised, those that run."""
        ids = (instance_id(get(node, "spec.providerID", "")) for node in nodes)
        found = await self.by_ids(known for known in ids if known)
        return [one for one in found if one["State"]["Name"] in ("pending", "running")]

    async def _describe(self, wanted: Sequence[Mapping[str, Any]]) -> list[Instance]:
        pages = await self._aws.all("ec2", "describe_instances", "Reservations", Filters=wanted)
        return [instance for reservation in pages for instance in reservation["Instances"]]

    async def forward(self, instance: str) -> None:
        """Let an instance pass on packets that are not its own, as pods' are not."""
        try:
            await self._aws.ec2(
                "modify_instance_attribute", InstanceId=instance, SourceDestCheck={"Value": False}
            )
        except AwsError as error:
            raise AwsError(f"cannot route to {instance}: {error}", error.code) from error


def instance_id(provider: str) -> str:
    """Return the id of the instance in a providerID, "" where it is none of Amazon's."""
    if not provider.startswith(SCHEME):
        return ""
    last = provider.rstrip("/").rpartition("/")[2]
    return last if last.startswith("i-") else ""


def provider_id(instance: Instance) -> str:
    """Return the providerID of an instance."""
    return f"{SCHEME}/{instance['Placement']['AvailabilityZone']}/{instance['InstanceId']}"


def addresses(instance: Instance) -> list[dict[str, str]]:
    """Return the addresses of an instance in upstream's order; the first interface's first."""
    interfaces = sorted(
        instance.get("NetworkInterfaces") or (),
        key=lambda one: get(one, "Attachment.DeviceIndex", 0),
    )
    internal = [
        address["PrivateIpAddress"]
        for interface in interfaces
        for address in interface.get("PrivateIpAddresses") or ()
    ] or [instance.get("PrivateIpAddress")]
    external = [
        get(address, "Association.PublicIp")
        for interface in interfaces
        for address in interface.get("PrivateIpAddresses") or ()
    ] + [instance.get("PublicIpAddress")]
    sixes = [
        address["Ipv6Address"]
        for interface in interfaces
        for address in interface.get("Ipv6Addresses") or ()
    ]
    private, public = instance.get("PrivateDnsName"), instance.get("PublicDnsName")
    found = [
        *(("InternalIP", text) for text in (*internal, *sixes)),
        *(("ExternalIP", text) for text in dict.fromkeys(external)),
        ("InternalDNS", private),
        ("Hostname", private),
        ("ExternalDNS", public),
    ]
    return [{"type": kind, "address": text} for kind, text in found if text]
