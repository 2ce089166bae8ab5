"""Users by headers that an authenticating proxy sets, vouched for by its client certificate.

The proxy's certificate is of an authority that signs for proxies alone and has one of the allowed
common names; then X-Remote-User and its like say who asks. From anybody else these headers mean
nothing. Rules are those of upstream's `authentication/request/headerrequest`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from multidict import CIMultiDict

from minikube_py.server.attributes import Credentials, User
from minikube_py.server.authn.trust import Trust


@dataclass(frozen=True, kw_only=True)
class HeaderNames:
    """Which headers say what; the first name header with a value wins, of others all count."""

    user: tuple[str, ...] = ("X-Remote-User",)
    group: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefix: tuple[str, ...] = ("X-Remote-Extra-",)
    uid: tuple[str, ...] = ()


class RequestHeaders:
    """Knows the user of a request that a proxy has authenticated."""

    def __init__(self, trust: Trust, names: HeaderNames, allowed_names: tuple[str, ...]) -> None:
        self._trust = trust
        self._names = names
        self._allowed = frozenset(allowed_names)

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user that the proxy names; None where no proxy asks, or it names nobody."""
        der = credentials.peer_certificate
        if der is None:
            return None
        proxy = self._trust.identity(der, credentials.connection).proxy
        if proxy is None or (self._allowed and proxy not in self._allowed):
            return None
        return user_of(credentials.headers, self._names)


def user_of(headers: Mapping[str, str], names: HeaderNames) -> User | None:
    """Return the user that headers name, None where they name none."""
    values = CIMultiDict(headers)
    user = _first(values, names.user)
    if not user:
        return None
    groups = [value for name in names.group for value in values.getall(name, ()) if value]
    return User(user, tuple(groups), _first(values, names.uid), _extra(values, names.extra_prefix))


def _first(values: CIMultiDict[str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := values.get(name, ""))), "")


def _extra(values: CIMultiDict[str], prefixes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for prefix in prefixes:
        lower = prefix.lower()
        for header, value in values.items():
            if header.lower().startswith(lower):
                key = unquote(header[len(prefix) :].lower())
                found[key] = (*found.get(key, ()), value)
    return found
