"""kpy: Kubernetes in one Python process."""

__version__ = "0.1.0"
KUBERNETES_VERSION = "v1.36.2"
"""The API level that /version and node status report."""
