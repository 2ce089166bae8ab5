"""Bytes and revisions: the only part that touches the database."""
