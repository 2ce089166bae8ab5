"""Users by bootstrap token: what kubeadm-style nodes join with; a Secret in kube-system each."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence

from minikube_py.api import times
from minikube_py.api.object import Key, Obj
from minikube_py.client.protocol import Lister
from minikube_py.lib.clock import Clock
from minikube_py.server.attributes import User
from minikube_py.server.authn.chain import Verified

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)
SECRET_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105 -- the type of the Secret
DEFAULT_GROUP = "system:bootstrappers"


class BootstrapTokens:
    """Knows tokens of the form `abcdef.0123456789abcdef` by their Secrets."""

    def __init__(self, secrets: Lister, audiences: Sequence[str], clock: Clock) -> None:
        self._secrets = secrets
        self._audiences = tuple(audiences)
        self._clock = clock

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """Return the bootstrapper; None for every token that is not good, as upstream does."""
        match = _TOKEN.fullmatch(token)
        matching = tuple(name for name in audiences if name in self._audiences)
        if match is None or not matching:
            return None
        name, given = match.groups()
        data = self._data(name, "authentication")
        if not hmac.compare_digest(data.get("token-secret", "").encode(), given.encode()):
            return None
        return Verified(User(f"system:bootstrap:{name}", _groups(data)), matching)

    def signing_secret(self, name: str) -> str:
        """Return the secret that a token may sign for strangers with; "" where it may not."""
        return self._data(name, "signing").get("token-secret", "")

    def _data(self, name: str, usage: str) -> Mapping[str, str]:
        """Return what a token's Secret says; nothing where it is not good for that."""
        secret = self._secrets.get(Key("kube-system", f"bootstrap-token-{name}"))
        if secret is None or secret.get("type") != SECRET_TYPE:
            return {}
        data = _decoded(secret)
        good = data.get("token-id") == name and data.get(f"usage-bootstrap-{usage}") == "true"
        return data if good and not self._is_over(data.get("expiration", "")) else {}

    def _is_over(self, expiration: str) -> bool:
        if not expiration:
            return False
        try:
            return times.parse(expiration) <= self._clock.now()
        except ValueError:
            return True


def _decoded(secret: Obj) -> dict[str, str]:
    data: dict[str, str] = {}
    for name, value in (secret.get("data") or {}).items():
        try:
            data[name] = base64.b64decode(value).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return data


def _groups(data: Mapping[str, str]) -> tuple[str, ...]:
    """Return the groups; one that may not be given makes all of them fall away but the first."""
    names = [name.strip() for name in data.get("auth-extra-groups", "").split(",") if name.strip()]
    if not all(_GROUP.fullmatch(name) for name in names):
        return (DEFAULT_GROUP,)
    return (DEFAULT_GROUP, *sorted(set(names)))
