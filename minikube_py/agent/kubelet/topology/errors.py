"""Why a container does not get processors, memory or devices: reasons and words are upstream's."""


class AdmissionError(Exception):
    """A pod cannot run here; `reason` stands in its status."""

    reason = "UnexpectedAdmissionError"

    @property
    def message(self) -> str:
        """What the pod's status says."""
        return f"Allocate failed due to {self}, which is unexpected"


class TopologyAffinityError(AdmissionError):
    """No set of NUMA nodes suits the policy."""

    reason = "TopologyAffinityError"

    @property
    def message(self) -> str:
        """What the pod's status says."""
        return "Resources cannot be allocated with Topology locality"


class SMTAlignmentError(AdmissionError):
    """Whole cores were asked for, and the number of processors does not come to that."""

    reason = "SMTAlignmentError"

    @property
    def message(self) -> str:
        """What the pod's status says."""
        return f"SMT Alignment Error: {self}"
