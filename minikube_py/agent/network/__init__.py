"""The pod network of a node: a bridge, addresses from the node's podCIDR, routes to other nodes."""
