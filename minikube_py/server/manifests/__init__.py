"""The manifests folder: what stands in its files is in the cluster, and goes when they go."""
