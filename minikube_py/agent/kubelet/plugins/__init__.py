"""Plugins of a node: how they register themselves, and how the kubelet is asked by them."""
