"""Acting as somebody else: the Impersonate- headers, each allowed by the verb `impersonate`.

Pure, apart from what it asks the authoriser. Rules, order and texts are upstream's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from minikube_py.api.errors import BadRequestError
from minikube_py.server.attributes import ANONYMOUS, Attributes, Authorizer, User
from minikube_py.server.authn.chain import AUTHENTICATED, UNAUTHENTICATED
from minikube_py.server.authn.service_account import PREFIX, groups_of
from minikube_py.server.authz.errors import forbidden

USER, GROUP, UID, EXTRA = (
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    "impersonate-extra-",
)
HEADER_PREFIX = "impersonate-"
GROUP_OF_USERS = "authentication.k8s.io"


@dataclass
class Wanted:
    """Whom the headers ask for."""

    name: str = ""
    uid: str = ""
    groups: list[str] = field(default_factory=list)
    extra: dict[str, list[str]] = field(default_factory=dict)


def asks(names: Iterable[str]) -> bool:
    """Tell from the names of a request's headers whether it asks for another user."""
    return HEADER_PREFIX in "\n".join(names).lower()


def impersonate(user: User, headers: Iterable[tuple[str, str]], authorizer: Authorizer) -> User:
    """Return whom the request is to be carried out as; the user where no header asks.

    Raises:
        BadRequestError: the headers ask for a group, uid or extra of nobody.
        ForbiddenError: the user may not.

    """
    wanted = read(headers)
    if not wanted.name:
        if wanted.groups or wanted.uid or wanted.extra:
            raise BadRequestError(
                f"requested {_go(wanted)} without impersonating a user name",
            )
        return user
    for attributes in requests(user, wanted):
        decision = authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)
    return User(
        name=wanted.name,
        groups=groups(wanted),
        uid=wanted.uid,
        extra={name: tuple(values) for name, values in wanted.extra.items()},
    )


def asked_of(user: User, headers: Iterable[tuple[str, str]]) -> Sequence[Attributes]:
    """Return what authorisation will be asked, nothing where no header asks for another user."""
    wanted = read(headers)
    return tuple(requests(user, wanted)) if wanted.name else ()


def read(headers: Iterable[tuple[str, str]]) -> Wanted:
    """Read the headers; names of extras are percent-encoded and without case."""
    wanted = Wanted()
    for header, value in headers:
        name = header.lower()
        if not name.startswith(HEADER_PREFIX):
            continue
        if name == USER:
            wanted.name = wanted.name or value
        elif name == GROUP:
            wanted.groups.append(value)
        elif name == UID:
            wanted.uid = wanted.uid or value
        elif name.startswith(EXTRA):
            key = unquote(name.removeprefix(EXTRA))
            wanted.extra.setdefault(key, []).append(value)
    return wanted


def requests(user: User, wanted: Wanted) -> Iterator[Attributes]:
    """Yield what the user must be allowed to do."""
    account = account_of(wanted.name)
    if account is not None:
        yield _request(user, "serviceaccounts", name=account[1], namespace=account[0])
    else:
        yield _request(user, "users", name=wanted.name)
    for group in wanted.groups:
        yield _request(user, "groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield _request(user, "userextras", name=value, subresource=key, group=GROUP_OF_USERS)
    if wanted.uid:
        yield _request(user, "uids", name=wanted.uid, group=GROUP_OF_USERS)


def _request(
    user: User,
    resource: str,
    *,
    name: str,
    namespace: str = "",
    subresource: str = "",
    group: str = "",
) -> Attributes:
    return Attributes(
        user=user,
        verb="impersonate",
        group=group,
        version="v1",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


def groups(wanted: Wanted) -> tuple[str, ...]:
    """Return the groups that the impersonated user is in."""
    account = account_of(wanted.name)
    names: Sequence[str] = wanted.groups
    if account is not None and not names:
        names = groups_of(account[0])
    if wanted.name == ANONYMOUS.name:
        missing = UNAUTHENTICATED not in names
        return (*names, UNAUTHENTICATED) if missing else tuple(names)
    known = AUTHENTICATED in names or UNAUTHENTICATED in names
    return tuple(names) if known else (*names, AUTHENTICATED)


def account_of(username: str) -> tuple[str, str] | None:
    """Return namespace and name of a service account's user name, None for other users."""
    parts = username.removeprefix(PREFIX).split(":")
    if not username.startswith(PREFIX) or len(parts) != 2 or not all(parts):
        return None
    return parts[0], parts[1]


def _go(wanted: Wanted) -> str:
    """Print the wish as Go prints upstream's struct, because that is the error's text."""
    extra = "map[string][]string(nil)"
    if wanted.extra:
        pairs = ", ".join(
            f'"{name}":{_go_list(values)}' for name, values in sorted(wanted.extra.items())
        )
        extra = f"map[string][]string{{{pairs}}}"
    names = _go_list(wanted.groups) if wanted.groups else "[]string(nil)"
    return f'&user.DefaultInfo{{Name:"", UID:"{wanted.uid}", Groups:{names}, Extra:{extra}}}'


def _go_list(values: Sequence[str]) -> str:
    return "[]string{" + ", ".join(f'"{value}"' for value in values) + "}"
