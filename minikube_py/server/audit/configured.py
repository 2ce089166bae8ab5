"""The auditor that the options ask for."""

from pathlib import Path

from minikube_py.lib.clock import Clock
from minikube_py.server.audit.default_policy import default_policy
from minikube_py.server.audit.policy import load
from minikube_py.server.audit.record import Auditor
from minikube_py.server.audit.rotation import RotatingFile
from minikube_py.server.audit.sink import LogSink
from minikube_py.server.config import ServerConfig

NONE = "none"


def auditor_of(config: ServerConfig, folder: Path, clock: Clock) -> Auditor:
    """Return the auditor of a server whose state is in a folder.

    Raises:
        StartError: the policy file cannot be used.

    """
    if config.audit_log_path == NONE:
        return Auditor(None, None, clock)
    file = RotatingFile(
        config.audit_log_path or str(folder / "logs" / "audit.log"),
        megabytes_max=config.audit_log_maxsize,
        days_max=config.audit_log_maxage,
        backups_max=config.audit_log_maxbackup,
    )
    sink = LogSink(file, clock, mode=config.audit_log_mode, form=config.audit_log_format)
    policy = load(config.audit_policy_file) if config.audit_policy_file else default_policy()
    return Auditor(policy, sink, clock)
