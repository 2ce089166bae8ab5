"""The kubelet: runs the pods that are bound to this node and tells the cluster how they are."""
