"""The volumes of a pod: each kind in a file of its own, all of them in `kinds.VOLUMES`."""
