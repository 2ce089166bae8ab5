"""Amazon's API on loopback, played by moto's server, and a small data centre in it."""

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import boto3

from minikube_py.api.object import Obj
from tests.ports import free_port

CLUSTER = "kpy"
REGION = "us-east-1"
TAG = {"Key": f"kubernetes.io/cluster/{CLUSTER}", "Value": "owned"}
START_SECONDS_MAX = 60.0
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Amazon:
    """The server; `reset` empties it."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                line, stdout=output, stderr=output, env=os.environ | CREDENTIALS
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._answers():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        try:
            self.reset()
        except OSError:
            return False
        return True

    def reset(self) -> None:
        url = f"{self.url}/moto-api/reset"
        request = urllib.request.Request(url, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            answer.read()

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Site:
    """A network with two zones, an instance in each, and what is tagged for the cluster."""

    def __init__(self, amazon: Amazon) -> None:
        self.ec2, self.elb = amazon.client("ec2"), amazon.client("elbv2")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [self._subnet(number) for number in (0, 1)]
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        group = self.ec2.create_security_group(
            GroupName="nodes", Description="nodes", VpcId=self.vpc
        )
        self.group = group["GroupId"]
        table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]
        self.table = table["RouteTableId"]
        self.ec2.create_route(
            RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway
        )
        self.ec2.create_tags(Resources=[*self.subnets, self.group, self.table], Tags=[TAG])
        self.instances = [self._instance(subnet) for subnet in self.subnets]

    def _subnet(self, number: int) -> str:
        made = self.ec2.create_subnet(
            VpcId=self.vpc,
            CidrBlock=f"10.0.{number}.0/24",
            AvailabilityZone=f"{REGION}{'ab'[number]}",
        )
        return str(made["Subnet"]["SubnetId"])

    def _instance(self, subnet: str) -> Any:
        made = self.ec2.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            SubnetId=subnet,
            SecurityGroupIds=[self.group],
        )
        return made["Instances"][0]

    def node(self, number: int, **more: Any) -> dict[str, Any]:
        """Return the node of an instance, as its kubelet registers it."""
        return {"metadata": {"name": self.instances[number]["PrivateDnsName"]}, "spec": {**more}}

    def known(self, number: int) -> Obj:
        """Return the node of an instance that is initialised."""
        zone = self.instances[number]["Placement"]["AvailabilityZone"]
        return self.node(number, providerID=f"aws:///{zone}/{self.instances[number]['InstanceId']}")

    def routes(self) -> dict[str, Any]:
        (table,) = self.ec2.describe_route_tables(RouteTableIds=[self.table])["RouteTables"]
        return {r["DestinationCidrBlock"]: r.get("InstanceId") for r in table["Routes"]}

    def rules(self) -> set[tuple[str, int, str]]:
        (group,) = self.ec2.describe_security_groups(GroupIds=[self.group])["SecurityGroups"]
        return {
            (each["IpProtocol"], each["FromPort"], source["CidrIp"])
            for each in group["IpPermissions"]
            for source in each["IpRanges"]
        }

    def balancers(self) -> list[Any]:
        return list(self.elb.describe_load_balancers()["LoadBalancers"])

    def groups(self) -> list[Any]:
        return list(self.elb.describe_target_groups()["TargetGroups"])

    def targets(self) -> dict[int, set[str]]:
        """Return the instances of each target group, by node port."""
        return {
            group["Port"]: {
                each["Target"]["Id"]
                for each in self.elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])[
                    "TargetHealthDescriptions"
                ]
            }
            for group in self.groups()
        }

    def listeners(self) -> dict[int, str]:
        """Return the node port that each listener's port leads to, with its protocol."""
        ports = {group["TargetGroupArn"]: group["Port"] for group in self.groups()}
        return {
            each["Port"]: f"{each['Protocol']} {ports[each['DefaultActions'][0]['TargetGroupArn']]}"
            for balancer in self.balancers()
            for each in self.elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])[
                "Listeners"
            ]
        }
