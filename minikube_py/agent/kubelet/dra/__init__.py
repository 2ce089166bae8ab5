"""Dynamic resource allocation on a node: drivers, and the claims that they prepare for pods."""
