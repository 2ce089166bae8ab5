"""Snapshots: a whole datastore at one revision in one file, and the way back."""
