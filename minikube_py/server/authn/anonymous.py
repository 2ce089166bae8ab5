"""The user of requests without credentials, where the server lets them in."""

from collections.abc import Collection

from minikube_py.server.attributes import ANONYMOUS, Credentials, User


class Anonymous:
    """Lets everybody in, as system:anonymous; the last of a chain."""

    def __init__(self, paths: Collection[str] = ()) -> None:
        """Take the paths that anybody may ask for; all where there are none."""
        self._paths = frozenset(paths)

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return system:anonymous, unless the request came with a certificate that is nobody's."""
        if self._paths and credentials.path not in self._paths:
            return None
        return ANONYMOUS if credentials.peer_certificate is None else None
