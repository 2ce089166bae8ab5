"""Errors that end a program before it has begun its work."""


class StartError(Exception):
    """The program cannot start; the message is one line that names cause and remedy."""
