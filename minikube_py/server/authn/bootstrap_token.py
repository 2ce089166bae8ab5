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
        secret = self._secrets.get(Key("kube-system", f"bootstrap-token-{name}"))
        if secret is None or secret.get("type") != SECRET_TYPE:
            return None
        data = _decoded(secret)
        if not self._is_good(data, name, given):
            return None
        return Verified(User(f"system:bootstrap:{name}", _groups(data)), matching)

    def _is_good(self, data: Mapping[str, str], name: str, given: str) -> bool:
        return (
            hmac.compare_digest(data.get("token-secret", "").encode(), given.encode())
            and data.get("token-id") == name
            and not self._is_over(data.get("expiration", ""))
            and data.get("usage-bootstrap-authentication") == "true"
        )

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
