"""Backups of a cluster: what belongs to one, when they are made, where they are kept."""
