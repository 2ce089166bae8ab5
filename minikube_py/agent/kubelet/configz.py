"""What /configz says: the kubelet's settings under the names of upstream's KubeletConfiguration."""

from typing import Any

from minikube_py.agent.kubelet.kubelet import KubeletConfig
from minikube_py.agent.kubelet.topology import cpus, memory
from minikube_py.api import quantity


def _shares(config: KubeletConfig) -> dict[str, Any]:
    """Return what is kept from pods, and what is given to single ones."""
    reserved, topology = config.node.machine.reserved, config.topology
    return {
        "kubeReserved": {name: str(amount) for name, amount in reserved.kube.items()},
        "systemReserved": {name: str(amount) for name, amount in reserved.system.items()},
        "enforceNodeAllocatable": ["pods"] if reserved.enforced else ["none"],
        "cpuManagerPolicy": "none" if topology.cpus is None else cpus.POLICY,
        "memoryManagerPolicy": "None" if topology.memory is None else memory.POLICY,
        "topologyManagerPolicy": topology.policy.name,
        "topologyManagerScope": topology.policy.scope,
    }


def configuration(config: KubeletConfig) -> dict[str, Any]:
    """Return the settings that are in force; what kpy has no setting for is left out."""
    return {
        "enableServer": True,
        "port": config.node.kubelet_port,
        "authentication": {
            "webhook": {"enabled": True, "cacheTTL": "2m0s"},
            "anonymous": {"enabled": False},
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
        },
        "clusterDomain": config.cluster_domain,
        "clusterDNS": list(config.cluster_dns),
        "nodeStatusUpdateFrequency": "10s",
        "cgroupDriver": "cgroupfs",
        "maxPods": config.node.machine.pods,
        **_shares(config),
        "containerLogMaxSize": str(quantity.of(config.log_limits.bytes_max, "BinarySI")),
        "containerLogMaxFiles": config.log_limits.files_max,
        "podLogsDir": str(config.logs),
        "allowedUnsafeSysctls": list(config.unsafe_sysctls),
        "imagePullCredentialsVerificationPolicy": config.image_verification,
        "memorySwap": {"swapBehavior": config.swap_behavior} if config.swap_behavior else {},
        "shutdownGracePeriodByPodPriority": [
            {"priority": group.priority, "shutdownGracePeriodSeconds": int(group.seconds)}
            for group in config.shutdown.groups
        ],
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
    }
