"""What a node's options about the lives of pods mean: pure but for looks at the machine's files."""

from minikube_py.agent.config import NodeConfig
from minikube_py.agent.kubelet.eviction.manager import EvictionPolicy
from minikube_py.agent.kubelet.eviction.thresholds import parse as parse_thresholds
from minikube_py.agent.kubelet.image_garbage import ImagePolicy
from minikube_py.agent.kubelet.image_records import POLICIES
from minikube_py.agent.kubelet.log_rotation import LogLimits
from minikube_py.agent.kubelet.pressure import PressurePolicy
from minikube_py.agent.kubelet.shutdown.plan import ShutdownPolicy
from minikube_py.agent.kubelet.shutdown.plan import parse as parse_shutdown
from minikube_py.agent.kubelet.swap import BEHAVIORS, SwapError
from minikube_py.agent.kubelet.swap import check as check_swap
from minikube_py.agent.kubelet.sysctls import allowed
from minikube_py.agent.kubelet.user_namespaces import UserNamespaceError, given_range
from minikube_py.api import quantity
from minikube_py.api.times import parse_duration
from minikube_py.lib.errors import StartError


def check_node(config: NodeConfig) -> None:
    """Refuse options that make no sense, alone or on this machine; raises StartError."""
    if config.image_pull_credentials_verification_policy not in POLICIES:
        raise StartError(
            "--image-pull-credentials-verification-policy"
            f" {config.image_pull_credentials_verification_policy!r} is none of"
            f" {', '.join(POLICIES)}"
        )
    if config.max_pods < 1 or config.max_parallel_image_pulls < 1:
        raise StartError("--max-pods and --max-parallel-image-pulls have to be at least 1")
    if config.memory_swap_behavior not in BEHAVIORS:
        raise StartError(
            f"--memory-swap-behavior {config.memory_swap_behavior!r} is not NoSwap or LimitedSwap"
        )
    try:
        allowed(config.allowed_unsafe_sysctls)
        shutdown_policy(config)
        given_range(config.max_pods)
        log_limits(config)
        check_swap(fail_on_swap=config.fail_swap_on)
    except (ValueError, UserNamespaceError, SwapError) as error:
        raise StartError(str(error)) from error


def log_limits(config: NodeConfig) -> LogLimits:
    """Read the options about the logs of containers; raises ValueError."""
    size = quantity.parse(config.container_log_max_size).value()
    if size <= 0 or config.container_log_max_files <= 1:
        raise ValueError(
            "--container-log-max-size has to be more than 0, --container-log-max-files more than 1"
        )
    return LogLimits(size, config.container_log_max_files)


def shutdown_policy(config: NodeConfig) -> ShutdownPolicy:
    """Read the options about the machine's end; raises ValueError."""
    return parse_shutdown(
        config.shutdown_grace_period,
        config.shutdown_grace_period_critical_pods,
        config.shutdown_grace_period_by_pod_priority,
    )


def pressure_policy(config: NodeConfig) -> PressurePolicy:
    """Read the options about what a node has left; raises ValueError."""
    return PressurePolicy(
        eviction=EvictionPolicy(
            thresholds=parse_thresholds(
                config.eviction_hard,
                config.eviction_soft,
                config.eviction_soft_grace_period,
                config.eviction_minimum_reclaim,
            ),
            transition_seconds=parse_duration(config.eviction_pressure_transition_period),
            soft_grace_seconds=config.eviction_max_pod_grace_period,
        ),
        images=ImagePolicy(
            high_percent=config.image_gc_high_threshold,
            low_percent=config.image_gc_low_threshold,
            age_seconds=parse_duration(config.minimum_image_ttl_duration),
            kept=frozenset({config.pause_image}),
        ),
    )
