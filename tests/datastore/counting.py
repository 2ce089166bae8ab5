"""A client that counts in the store by compare and swap."""

from minikube_py.datastore.kv import Backend, RevisionMismatchError


async def count(backend: Backend, key: str, steps: int) -> None:
    """Add one to the number at a key, so many times, whoever else does the same."""
    while steps:
        current = await backend.get(key)
        assert current is not None
        value = str(int(current.value) + 1).encode()
        try:
            await backend.update(key, value, revision=current.revision)
        except RevisionMismatchError:
            continue
        steps -= 1
