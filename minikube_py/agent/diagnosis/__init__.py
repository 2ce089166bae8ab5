"""Walks the way of a packet from a pod to where pods send packets, and names what stops it."""
