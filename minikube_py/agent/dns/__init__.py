"""Cluster DNS, served by every node for its own pods."""
