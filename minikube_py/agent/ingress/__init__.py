"""The ingress of a node: a reverse proxy from hosts and paths to endpoints of services."""
