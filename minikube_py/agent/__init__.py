"""The node half: kubelet, proxy, network, DNS and the container runtime."""
