"""The container runtime interface: typed calls to any CRI v1 runtime, without generated stubs."""
