"""The chain: the first method that knows the user wins; wrong credentials end it.

Order is upstream's: certificates before tokens, so that a valid certificate beside a bad token
is enough; anonymous last, and never after a bad token.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from minikube_py.api.errors import UnauthorizedError
from minikube_py.server.attributes import Authenticator, Credentials, User

AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
INVALID = "invalid bearer token"


class Chain:
    """Asks its methods in turn."""

    def __init__(self, methods: Sequence[Authenticator]) -> None:
        self.methods = tuple(methods)

    async def authenticate(self, credentials: Credentials) -> User:
        """Return the user, with the group that all known users have.

        Raises:
            UnauthorizedError: nobody known asks, or with wrong credentials.

        """
        for method in self.methods:
            user = await method.authenticate(credentials)
            if user is not None:
                return with_authenticated(user)
        raise UnauthorizedError("Unauthorized")


def with_authenticated(user: User) -> User:
    """Return the user with system:authenticated, unless it is known not to be."""
    if AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    # On the way of every request: `dataclasses.replace` takes five times as long.
    return User(user.name, (*user.groups, AUTHENTICATED), user.uid, user.extra)


class TokenError(Exception):
    """A token is of a method's kind and wrong; the text shows in a TokenReview."""


class Verified(NamedTuple):
    """Whose a token is, and for which of the wanted audiences."""

    user: User
    audiences: tuple[str, ...]


class TokenMethod(Protocol):
    """One kind of bearer tokens."""

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """Return whose the token is; None where it is of another kind.

        Raises:
            TokenError: it is of this kind and wrong.

        """


class BearerTokens:
    """Knows the user of a request by `Authorization: Bearer`; asks its token methods in turn."""

    def __init__(self, methods: Sequence[TokenMethod], audiences: Sequence[str]) -> None:
        self.methods = tuple(methods)
        self.audiences = tuple(audiences)
        """What this API server calls itself in tokens."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user of the token, None where there is none.

        Raises:
            UnauthorizedError: there is one, and no method takes it.

        """
        kind, _, token = credentials.authorization.strip().partition(" ")
        token = token.strip()
        if kind.lower() != "bearer" or not token:
            return None
        try:
            return (await self.verify(token, self.audiences)).user
        except TokenError as error:
            raise UnauthorizedError("Unauthorized") from error

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified:
        """Return whose the token is.

        Raises:
            TokenError: nobody's; worded as upstream joins the errors of its methods.

        """
        errors = []
        for method in self.methods:
            try:
                verified = await method.verify(token, audiences)
            except TokenError as error:
                errors.append(str(error))
                continue
            if verified is not None:
                return verified
        raise TokenError(f"[{INVALID}, {', '.join(errors)}]" if errors else INVALID)
