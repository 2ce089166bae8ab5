"""Subresources with a kind of their own and kinds that are answered but never stored."""
