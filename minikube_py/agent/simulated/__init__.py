"""Nodes without machines: they heartbeat, and what is bound to them seems to run."""
