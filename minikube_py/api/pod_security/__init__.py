"""Pod Security Standards: what a pod may do at the levels privileged, baseline and restricted.

Every control is one pure function over a pod's metadata and spec. Which functions a level means
depends on the version that a namespace pins, so that an upgrade refuses nothing that ran before.
"""

from minikube_py.api.pod_security.levels import (
    LATEST,
    PRIVILEGED,
    LevelVersion,
    Policy,
    policy_of,
)
from minikube_py.api.pod_security.library import details, evaluate, reasons

__all__ = [
    "LATEST",
    "PRIVILEGED",
    "LevelVersion",
    "Policy",
    "details",
    "evaluate",
    "policy_of",
    "reasons",
]
