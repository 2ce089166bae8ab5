"""Images of containers: present or pulled, by the policy of the container, with back-off.

The waiting reasons, events and messages are those of the kubelet's image manager.
"""

import asyncio
import base64
import binascii
import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Image, Images
from minikube_py.agent.kubelet.backoff import Backoffs
from minikube_py.agent.kubelet.errors import StartRefusedError
from minikube_py.agent.kubelet.image_records import ImageRecords
from minikube_py.agent.kubelet.volumes.payload import decoded
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.client.events import EventKind
from minikube_py.lib.clock import Clock

PULLS_MAX = 4
"""Pulls at the same time; upstream's default is one, which lets a slow registry hold up all."""
DOCKER_HUB = "docker.io"
DOCKER_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io")
NAME = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@[a-z0-9]+:[0-9a-fA-F]{32,})?",
    re.ASCII,
)
Tell = Callable[[EventKind, str, str], None]
"""(type, reason, message): records an event on the container."""


def with_default_tag(image: str) -> str:
    """Return the image with `:latest` where it has neither tag nor digest.

    Raises:
        StartRefusedError: it is no name of an image.

    """
    match = NAME.fullmatch(image)
    if match is None:
        why = "invalid reference format"
        raise StartRefusedError(
            "InvalidImageName",
            f'Failed to apply default image tag "{image}": couldn\'t parse image name'
            f' "{image}": {why}',
        )
    return image if match["tag"] or match["digest"] else f"{image}:latest"


def registry_of(image: str) -> str:
    """Return the registry that an image comes from."""
    first, slash, _ = image.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    return first if is_host else DOCKER_HUB


def credentials(secrets: Iterable[Obj], image: str) -> Iterator[dict[str, str]]:
    """Yield what may open the image's registry, out of pull secrets; never to be logged."""
    yield from (auth for auth, _ in with_secrets(secrets, image))


def with_secrets(secrets: Iterable[Obj], image: str) -> Iterator[tuple[dict[str, str], Obj]]:
    """Yield the same, each with the secret that it stands in."""
    registry = registry_of(image)
    names = DOCKER_HUB_NAMES if registry == DOCKER_HUB else (registry,)
    for secret in secrets:
        for host, entry in _entries(secret):
            if host.split("/")[0] in names and image.startswith(_prefix(host, image)):
                yield _auth(entry), secret


def _prefix(host: str, image: str) -> str:
    """Return how an image must begin for credentials that hold for part of a registry only."""
    return host if "/" in host and not host.split("/")[1].startswith("v") else image


def _entries(secret: Obj) -> Iterator[tuple[str, Mapping[str, Any]]]:
    data = decoded(secret)
    try:
        if text := data.get(".dockerconfigjson"):
            entries = json.loads(text).get("auths") or {}
        elif text := data.get(".dockercfg"):
            entries = json.loads(text)
        else:
            return
        for host, entry in entries.items():
            yield host.removeprefix("https://").removeprefix("http://"), entry
    except (ValueError, AttributeError):
        return  # a broken secret opens nothing


def _auth(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the AuthConfig of CRI; the runtime is not told for which registry, as by upstream.

    It would compare that with the host of a URL, and drop credentials for `registry:5000`.
    """
    username, password = entry.get("username", ""), entry.get("password", "")
    if entry.get("auth"):
        try:
            text = base64.b64decode(entry["auth"]).decode()
        except (binascii.Error, UnicodeDecodeError):
            text = ""
        username, _, password = text.partition(":")
    return {
        "username": username,
        "password": password,
        "identity_token": entry.get("identitytoken", ""),
        "registry_token": entry.get("registrytoken", ""),
    }


OwnCredentials = Callable[[str], Iterable[Mapping[str, str]]]
"""registry -> entries as a docker configuration has them"""


Pulled = Callable[[str, int, float], None]
"""(uid of the pod, bytes of the image, seconds)"""


@dataclass(frozen=True, kw_only=True)
class PullRequest:
    """An image that a container needs."""

    pod: Obj
    container: Obj
    secrets: Iterable[Obj]
    sandbox_config: Mapping[str, Any]


class ImagePuller:
    """Makes sure of images."""

    def __init__(
        self,
        images: Images,
        clock: Clock,
        own: OwnCredentials = lambda _registry: (),
        records: ImageRecords | None = None,
        pulls_max: int = PULLS_MAX,
    ) -> None:
        """Take `own`, which yields what the node itself may open a registry with.

        Without `records` an image that is here is everybody's.
        """
        self._records = records
        self._own = own
        self._images = images
        self._clock = clock
        self._backoffs = Backoffs(clock)
        self._errors: dict[str, str] = {}
        self._slots = asyncio.Semaphore(pulls_max)
        self.pulled: Pulled = lambda *_: None
        """Told of each pull: whose pod, how large, how long."""

    async def ensure(self, request: PullRequest, tell: Tell) -> Image:
        """Return the image of a container, pulled where need be.

        Raises:
            StartRefusedError: it cannot be had now.

        """
        name = request.container.get("image", "")
        try:
            image = with_default_tag(name)
        except StartRefusedError as error:
            tell("Warning", "InspectFailed", error.message)
            raise
        present = await self._inspect(name, image, tell)
        if present is not None and self._is_closed(request, image, present):
            present = None
        policy = request.container.get("imagePullPolicy") or "IfNotPresent"
        if present is not None and policy != "Always":
            tell(
                "Normal",
                "Pulled",
                f'Container image "{name}" already present on machine'
                " and can be accessed by the pod",
            )
            return present
        if policy == "Never":
            message = f'Container image "{name}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise StartRefusedError("ErrImageNeverPull", message)
        return await self._pull(request, image, tell)

    def _is_closed(self, request: PullRequest, image: str, present: Image) -> bool:
        """Tell whether an image is here that the pod has to prove its right to."""
        offered = with_secrets(request.secrets, image)
        return self._records is not None and self._records.must_pull(image, present.id, offered)

    async def _inspect(self, name: str, image: str, tell: Tell) -> Image | None:
        try:
            return await self._images.status(image)
        except CriError as error:
            message = f'Failed to inspect image "{name}": {error}'
            tell("Warning", "InspectFailed", message)
            raise StartRefusedError("ImageInspectError", message) from None

    async def _pull(self, request: PullRequest, image: str, tell: Tell) -> Image:
        name = request.container.get("image", "")
        key = f"{uid_of(request.pod)}_{name}"
        if self._backoffs.waits_since_update(key):
            message = f'Back-off pulling image "{name}"'
            tell("Normal", "BackOff", message)
            told = self._errors.get(key)
            raise StartRefusedError("ImagePullBackOff", f"{message}: {told}" if told else message)
        tell("Normal", "Pulling", f'Pulling image "{name}"')
        asked = self._clock.monotonic()
        try:
            async with self._slots:
                begun = self._clock.monotonic()
                found = await self._recorded(request, image)
        except CriError as error:
            self._backoffs.next(key)
            self._errors[key] = f"ErrImagePull: {error.message}"
            tell("Warning", "Failed", f'Failed to pull image "{name}": {error.message}')
            raise StartRefusedError("ErrImagePull", error.message) from None
        self._errors.pop(key, None)
        now = self._clock.monotonic()
        self.pulled(uid_of(request.pod), found.size_bytes, now - asked)
        tell(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{name}" in {_duration(now - begun)}'
            f" ({_duration(now - asked)} including waiting)."
            f" Image size: {found.size_bytes} bytes.",
        )
        return found

    async def _recorded(self, request: PullRequest, image: str) -> Image:
        """Pull, and write down who may use what came; raises CriError."""
        records = self._records
        if records is not None:
            records.begun(image)
        try:
            used = await self._try_all(request, image)
            found = await self._pulled(image)
        except CriError:
            if records is not None:
                records.failed(image)
            raise
        if records is not None:
            records.done(image, found.id, used, found.tags)
        return found

    async def _pulled(self, image: str) -> Image:
        found = await self._images.status(image)
        if found is None:
            raise CriError(f"image {image} is gone right after it was pulled")
        return found

    async def _try_all(
        self, request: PullRequest, image: str
    ) -> tuple[Mapping[str, Any], Obj] | None:
        """Pull with each of the credentials that may fit, or with none where there are none.

        Returns what did it and the secret it stands in, None where it was no secret of the pod's.
        """
        mine = list(with_secrets(request.secrets, image))
        own = [(_auth(entry), None) for entry in self._own(registry_of(image))]
        offers: list[tuple[dict[str, str] | None, Obj | None]] = [*mine, *own]
        offers = offers or [(None, None)]
        for auth, secret in offers[:-1]:
            with contextlib.suppress(CriError):
                await self._images.pull(image, auth, request.sandbox_config)
                return None if auth is None or secret is None else (auth, secret)
        auth, secret = offers[-1]
        await self._images.pull(image, auth, request.sandbox_config)
        return None if auth is None or secret is None else (auth, secret)

    def retry_at(self, pod: Obj, container: Obj) -> float:
        """Return the monotonic time from which a failed pull is tried again."""
        return self._backoffs.ends(f"{uid_of(pod)}_{container.get('image', '')}")

    def forget(self, pod: Obj) -> None:
        """Drop what is remembered of a pod's pulls."""
        for kind in ("initContainers", "containers", "ephemeralContainers"):
            for container in get(pod, f"spec.{kind}") or ():
                key = f"{uid_of(pod)}_{container.get('image', '')}"
                self._backoffs.forget(key)
                self._errors.pop(key, None)


def _duration(seconds: float) -> str:
    """Return a duration as Go prints it, to the millisecond."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    text = f"{seconds:.3f}".rstrip("0").rstrip(".")
    return f"{text}s"
