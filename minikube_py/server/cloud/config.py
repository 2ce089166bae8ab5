"""The options of `kpy cloud-controller-manager`; the names are upstream's."""

from dataclasses import dataclass

from minikube_py.lib.options import option


@dataclass(frozen=True, kw_only=True)
class CloudControllerManagerConfig:
    """What cloud controllers in a process of their own are told."""

    kubeconfig: str = option("", "how to reach the cluster (default: the pod's service account)")
    cloud_provider: str = option("", "local, aws or the name of a provider that is installed")
    cloud_config: str = option("", "configuration of the cloud provider")
    cluster_name: str = option("kubernetes", "marks in the cloud what belongs to this cluster")
    cluster_cidr: str = option("10.42.0.0/16", "networks that pods get addresses from")
    configure_cloud_routes: bool = option(True, "make routes where the provider can")
    leader_elect: bool = option(True, "work only while holding the lease, so that several may run")
    bind_address: str = option("0.0.0.0", "address for health checks and metrics")
    secure_port: int = option(10258, "port for health checks and metrics; 0 for none")
    tls_cert_file: str = option("", "certificate of that port (default: made at each start)")
    tls_private_key_file: str = option("", "key of --tls-cert-file")
