"""Network policies: what pods of this node may send and be sent, by nftables."""
