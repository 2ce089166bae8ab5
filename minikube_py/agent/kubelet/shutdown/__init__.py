"""Graceful node shutdown: pods end in order of what they matter before the machine goes down."""
