"""What `--cloud-config` says of AWS, as keys of a YAML map; all of it may be left out."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AwsConfig:
    """Where the cluster is; credentials are found as all of Amazon's tools find them."""

    region: str = ""
    """By default that of the environment, or of the instance this runs on."""
    subnets: tuple[str, ...] = ()
    """Ids of the subnets of load balancers; by default those tagged for the cluster."""
    route_tables: tuple[str, ...] = ()
    """Ids of the route tables of the nodes; by default those tagged for the cluster."""
    endpoint: str = ""
    """URL of the API, where it is not Amazon's."""
