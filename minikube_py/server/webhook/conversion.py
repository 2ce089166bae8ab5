"""Custom objects in another version of their kind, made by a webhook."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from minikube_py.api.apiextensions import conversion
from minikube_py.api.apiextensions.conversion import ConversionError
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Obj, get
from minikube_py.server.webhook.client import Post, Target
from minikube_py.server.webhook.errors import WebhookError

TIMEOUT_SECONDS = 30.0
OBJECTS_MAX = 200
BYTES_MAX = 1 << 20
"""Of one request; a longer list is converted in several, so that each answer has a bound."""


class WebhookConverter:
    """Converts the objects of one definition."""

    def __init__(self, definition: Obj, locate: Callable[[Obj], Target], post: Post) -> None:
        webhook = get(definition, "spec.conversion.webhook") or {}
        self._versions: Sequence[str] = tuple(webhook.get("conversionReviewVersions") or ())
        self._client: Obj = webhook.get("clientConfig") or {}
        self._locate = locate
        self._post = post

    async def __call__(self, objects: Sequence[Obj], api_version: str) -> Sequence[Obj]:
        """Return the objects in a version, in their order; those that are in it stay as they are.

        Raises:
            StatusError: the webhook cannot be asked, or gave something else.

        """
        other = [obj for obj in objects if obj["apiVersion"] != api_version]
        if not other:
            return objects
        converted: list[Obj] = []
        for batch in _batches(other):
            converted += await self._convert(batch, api_version)
        made = iter(converted)
        return [obj if obj["apiVersion"] == api_version else next(made) for obj in objects]

    async def _convert(self, batch: Sequence[Obj], api_version: str) -> list[Obj]:
        what = conversion.kind_text(batch[0]["apiVersion"], batch[0]["kind"])
        try:
            answer = await self._ask(batch, api_version)
        except (ConversionError, WebhookError) as error:
            raise failure(f"conversion webhook for {what} failed: {error}") from error
        if len(answer) != len(batch):
            raise failure(
                f"conversion webhook for {what} returned {len(answer)} objects, "
                f"expected {len(batch)}"
            )
        single = len(batch) == 1
        try:
            return [
                conversion.restored(obj, made, api_version, "" if single else f" at index {index}")
                for index, (obj, made) in enumerate(zip(batch, answer, strict=True))
            ]
        except ConversionError as error:
            raise failure(f"conversion webhook for {what} {error}") from error

    async def _ask(self, batch: Sequence[Obj], api_version: str) -> Sequence[Any]:
        version, uid = conversion.version_of(self._versions), str(uuid.uuid4())
        document = conversion.review(batch, api_version, uid, version)
        target = self._locate(self._client)
        answer = await self._post(target, document, timeout_seconds=TIMEOUT_SECONDS)
        return conversion.answered(answer, uid, version)


def failure(text: str) -> StatusError:
    """Return a failed conversion as upstream answers it: a 500 without a reason."""
    error = StatusError(text)
    error.reason = ""
    return error


def _batches(objects: Sequence[Obj]) -> Iterator[Sequence[Obj]]:
    batch: list[Obj] = []
    size = 0
    for obj in objects:
        length = len(orjson.dumps(obj))
        if batch and (len(batch) == OBJECTS_MAX or size + length > BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(obj)
        size += length
    if batch:
        yield batch
