"""The user of requests without credentials, where the server lets them in."""

from minikube_py.server.attributes import ANONYMOUS, Credentials, User


class Anonymous:
    """Lets everybody in, as system:anonymous; the last of a chain."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return system:anonymous, unless the request came with a certificate that is nobody's."""
        return ANONYMOUS if credentials.peer_certificate is None else None
