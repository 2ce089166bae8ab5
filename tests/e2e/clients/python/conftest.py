"""What the checks of every Python client are given."""

import os

import pytest

SECONDS_MAX = 120.0
"""How long a check waits for anything that is to happen."""


@pytest.fixture
def kubeconfig() -> str:
    return os.environ["KUBECONFIG"]


@pytest.fixture
def namespace() -> str:
    """The namespace of this client; each check uses names of its own."""
    return os.environ["NAMESPACE"]
