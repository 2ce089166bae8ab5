"""kube-proxy: makes the addresses of services lead to their endpoints, by nftables."""
