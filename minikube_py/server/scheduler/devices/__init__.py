"""Devices for claims: what there is (`inventory`), what is wanted (`wishes`), a match (`search`).

All of it is pure: what a claim gets depends on slices, classes, claims and the node. The plugin
`plugins/dynamic_resources.py` keeps the books and writes. Upstream: the allocator of
`k8s.io/dynamic-resource-allocation/structured`.
"""
