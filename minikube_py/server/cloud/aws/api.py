"""Calls of Amazon's API: made by boto3 in threads, bounded, their failures as `CloudError`."""

import asyncio
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.lib.errors import StartError
from minikube_py.lib.tallies import Metric, Tallies
from minikube_py.server.cloud.aws.config import AwsConfig
from minikube_py.server.cloud.provider import CloudError

SECONDS = Metric(
    "cloudprovider_aws_api_request_duration_seconds",
    "Latency of AWS API calls",
    ("request",),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ERRORS = Metric("cloudprovider_aws_api_request_errors", "AWS API errors", ("request",))
CALLS_MAX = 8
"""At the same time; each holds a thread."""
CONNECT_SECONDS, READ_SECONDS, TRIES = 5, 60, 4


class AwsError(CloudError):
    """Amazon refused; `code` is its word for why."""

    def __init__(self, message: str, code: str = "", seconds: float | None = None) -> None:
        super().__init__(message, seconds)
        self.code = code


class Aws:
    """The API of one region."""

    def __init__(self, config: AwsConfig, tallies: Tallies | None = None) -> None:
        """Find the libraries and the region; calls are counted in `tallies`.

        Raises:
            StartError: there is none.

        """
        try:
            import boto3  # noqa: PLC0415 -- optional, and a second to import
        except ImportError as error:
            raise StartError(
                "cloud provider aws needs boto3; install it with pip install 'kpy[aws]'"
            ) from error
        self._session = boto3.Session(region_name=config.region or None)
        self.region = self._session.region_name or _region_of_instance()
        if not self.region:
            raise StartError("cloud provider aws needs a region; set it in --cloud-config")
        self._endpoint = config.endpoint or None
        self._tallies = tallies or Tallies()
        self._clients: dict[str, Any] = {}
        self._slots = asyncio.Semaphore(CALLS_MAX)

    async def ec2(self, call: str, **parameters: Any) -> Any:
        """Call EC2; `call` is boto3's name of it."""
        return await self._call("ec2", call, parameters)

    async def elb(self, call: str, **parameters: Any) -> Any:
        """Call Elastic Load Balancing."""
        return await self._call("elbv2", call, parameters)

    async def all(self, service: str, call: str, key: str, **parameters: Any) -> list[Any]:
        """Return what all pages of a call have under a key."""
        work = functools.partial(self._pages, service, call, key, parameters)
        return list(await self._in_thread(call, work))

    async def _call(self, service: str, call: str, parameters: Mapping[str, Any]) -> Any:
        return await self._in_thread(
            call, lambda: getattr(self._client(service), call)(**parameters)
        )

    async def _in_thread(self, call: str, work: Any) -> Any:
        """Do some work in a thread; how long it took is counted under the call's name."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        async with self._slots:
            began = time.perf_counter()
            try:
                made = await asyncio.to_thread(work)
            except ClientError as error:
                self._tallies.count(ERRORS, call)
                told = error.response.get("Error", {})
                raise AwsError(str(error), str(told.get("Code", ""))) from error
            except BotoCoreError as error:
                self._tallies.count(ERRORS, call)
                raise AwsError(str(error)) from error
        self._tallies.observe(SECONDS, time.perf_counter() - began, call)
        return made

    def _pages(
        self, service: str, call: str, key: str, parameters: Mapping[str, Any]
    ) -> Sequence[Any]:
        pages = self._client(service).get_paginator(call).paginate(**parameters)
        return [each for page in pages for each in page[key]]

    def _client(self, service: str) -> Any:
        """Return boto3's client; making it takes long, so it is made in a thread, by the first."""
        if service not in self._clients:
            from botocore.config import Config  # noqa: PLC0415

            limits = Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": TRIES},
                max_pool_connections=CALLS_MAX,
            )
            self._clients[service] = self._session.client(
                service, region_name=self.region, endpoint_url=self._endpoint, config=limits
            )
        return self._clients[service]


def _region_of_instance() -> str:
    """Ask the instance that this runs on; "" where it runs on none."""
    from botocore.utils import InstanceMetadataRegionFetcher  # noqa: PLC0415

    return InstanceMetadataRegionFetcher(timeout=1, num_attempts=1).retrieve_region() or ""


def filters(**wanted: Sequence[str] | str) -> list[dict[str, Any]]:
    """Return filters as EC2 has them; `tag_key` stands for its `tag-key`."""
    return [
        {
            "Name": name.replace("_", "-"),
            "Values": [values] if isinstance(values, str) else list(values),
        }
        for name, values in wanted.items()
    ]


def cluster_tag(cluster: str) -> str:
    """Return the key of the tag of all that belongs to a cluster."""
    return f"kubernetes.io/cluster/{cluster}"


def tags_of(resource: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a resource as a map."""
    return {tag["Key"]: tag.get("Value", "") for tag in resource.get("Tags") or ()}
