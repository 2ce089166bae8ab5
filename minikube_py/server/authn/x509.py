"""Users by client certificate: the common name is the user, the organizations are the groups."""

from minikube_py.server.attributes import Credentials, User
from minikube_py.server.authn.trust import Trust


class ClientCertificates:
    """Knows the user of a connection by its client certificate."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user that the certificate names; None without one, or without a name."""
        der = credentials.peer_certificate
        return self._trust.identity(der, credentials.connection).user if der else None
