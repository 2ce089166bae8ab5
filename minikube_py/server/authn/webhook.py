"""Users by a webhook: a TokenReview is posted for each token that no other method knows.

The rules are those of apiserver's `plugin/pkg/authenticator/token/webhook`: answers are remembered
for a while, failures are not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minikube_py.api import times
from minikube_py.api.object import Obj
from minikube_py.lib.clock import Clock
from minikube_py.server.attributes import User
from minikube_py.server.authn.chain import TokenError, Verified
from minikube_py.server.config import ServerConfig
from minikube_py.server.webhook.asking import Answers, posted
from minikube_py.server.webhook.client import Post, Target
from minikube_py.server.webhook.errors import WebhookError
from minikube_py.server.webhook.kubeconfig import target_of_file


def webhook_tokens(config: ServerConfig, post: Post, clock: Clock) -> Sequence["WebhookTokens"]:
    """Return the method that the options name, if they name one."""
    path = config.authentication_token_webhook_config_file
    if not path:
        return ()
    target = target_of_file("--authentication-token-webhook-config-file", path)
    seconds = times.parse_duration(config.authentication_token_webhook_cache_ttl)
    version = config.authentication_token_webhook_version
    return (WebhookTokens(target, post, clock, version=version, seconds=seconds),)


class _Answer(NamedTuple):
    """What the webhook said of a token."""

    user: User | None
    audiences: tuple[str, ...] | None
    error: str


class WebhookTokens:
    """Asks about tokens."""

    def __init__(
        self, target: Target, post: Post, clock: Clock, *, version: str, seconds: float
    ) -> None:
        """Make the method; `seconds` is how long an answer counts."""
        self._target = target
        self._post = post
        self._clock = clock
        self._api_version = f"authentication.k8s.io/{version}"
        self._seconds = seconds
        self._answers: Answers[_Answer] = Answers(clock)

    async def verify(self, token: str, audiences: Sequence[str]) -> Verified | None:
        """Return whose the token is; None where the webhook does not know it."""
        wanted = tuple(audiences)
        key = self._answers.key([token, wanted])
        try:
            answer = await self._answers.get(
                key, lambda: self._ask(token, wanted), lambda _answer: self._seconds
            )
        except WebhookError as error:
            raise TokenError(str(error)) from error
        if answer.user is None:
            if answer.error:
                raise TokenError(answer.error)
            return None
        named = wanted if answer.audiences is None else answer.audiences
        matching = tuple(name for name in wanted if name in named)
        return Verified(answer.user, matching) if matching or not wanted else None

    async def _ask(self, token: str, audiences: Sequence[str]) -> _Answer:
        document = {
            "kind": "TokenReview",
            "apiVersion": self._api_version,
            "metadata": {"creationTimestamp": None},
            "spec": {"token": token, "audiences": list(audiences)},
            "status": {"user": {}},
        }
        said = await posted(self._post, self._target, document, self._clock)
        return _read(said)


def _read(document: Any) -> _Answer:
    status = document.get("status") if isinstance(document, dict) else None
    if not isinstance(status, dict):
        raise WebhookError("the answer is no TokenReview with a status")
    error = _text(status, "error")
    if status.get("authenticated") is not True:
        return _Answer(None, None, error)
    audiences = _texts(status.get("audiences"))
    return _Answer(_user(status.get("user") or {}), audiences or None, error)


def _user(user: Any) -> User:
    if not isinstance(user, dict):
        raise WebhookError("the answer has no user")
    extra = user.get("extra") or {}
    if not isinstance(extra, Mapping):
        raise WebhookError("the extra of the answer's user is no map")
    return User(
        name=_text(user, "username"),
        groups=_texts(user.get("groups")),
        uid=_text(user, "uid"),
        extra={str(key): _texts(values) for key, values in extra.items()},
    )


def _text(document: Obj, key: str) -> str:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise WebhookError(f"{key} of the answer is no text")
    return value or ""


def _texts(values: Any) -> tuple[str, ...]:
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise WebhookError("the answer has something else where a list of texts belongs")
    return tuple(values)
