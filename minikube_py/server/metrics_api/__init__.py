"""The metrics API (metrics.k8s.io): what nodes and pods use, asked of the kubelets on demand."""
