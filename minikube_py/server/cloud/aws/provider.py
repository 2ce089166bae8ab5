"""The provider `aws`."""

from minikube_py.server.cloud import config_file
from minikube_py.server.cloud.aws.api import Aws
from minikube_py.server.cloud.aws.config import AwsConfig
from minikube_py.server.cloud.aws.instances import AwsInstances
from minikube_py.server.cloud.aws.load_balancers import AwsLoadBalancers
from minikube_py.server.cloud.aws.routes import AwsRoutes
from minikube_py.server.cloud.provider import CloudSetting, Provider


def make(setting: CloudSetting) -> Provider:
    """Return the provider.

    Raises:
        StartError: the configuration cannot be used, or boto3 is not installed.

    """
    config = config_file.read(setting.config_file, AwsConfig)
    aws = Aws(config, setting.tallies)
    instances = AwsInstances(aws)
    return Provider(
        name="aws",
        instances=instances,
        routes=AwsRoutes(aws, instances, config),
        load_balancers=AwsLoadBalancers(aws, instances, config),
    )
