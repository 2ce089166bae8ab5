"""Cloud controllers: what links the cluster to the API of whoever gives it machines and networks.

A provider (`provider.py`) is up to three parts: instances, routes, load balancers. A controller
runs where the provider has the part that it needs, and does what upstream's of that name does.
"""
