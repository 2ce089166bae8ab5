"""Images: policies, credentials, back-off, and the words for all of it; in virtual time."""

import asyncio
import base64
import json
from typing import Any

import pytest

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.images import Image
from minikube_py.agent.kubelet.backoff import Backoffs, go_duration
from minikube_py.agent.kubelet.errors import StartRefusedError
from minikube_py.agent.kubelet.images import (
    ImagePuller,
    PullRequest,
    credentials,
    registry_of,
    with_default_tag,
)
from tests.unit.agent.kubelet.builders import container, pod
from tests.virtual_time import VirtualClock, virtual

FOUND = Image(id="sha256:1", size_bytes=42)
PULLED = 'Successfully pulled image "web:1" in 2.5s (2.5s including waiting). Image size: 42 bytes.'


class ModelImages:
    """An image service; `pullable` are the images that a registry has."""

    def __init__(self, *present: str, pullable: tuple[str, ...] = ()) -> None:
        self.present = set(present)
        self.pullable = set(pullable)
        self.pulls: list[tuple[str, str]] = []
        self.seconds = 2.5

    async def status(self, image: str) -> Image | None:
        return FOUND if image in self.present else None

    async def pull(self, image: str, auth: Any = None, sandbox: Any = None) -> str:
        self.pulls.append((image, (auth or {}).get("username", "")))
        await asyncio.sleep(self.seconds)
        if image not in self.pullable:
            raise CriError(f"failed to resolve reference {image}")
        self.present.add(image)
        return FOUND.id


class Told(list[tuple[str, str, str]]):
    """The events of a container."""

    def __call__(self, kind: str, reason: str, message: str) -> None:
        self.append((kind, reason, message))


async def ensure(puller: ImagePuller, told: Told, secrets: Any = (), **fields: Any) -> Image:
    one = container(**({"image": "web:1"} | fields))
    request = PullRequest(pod=pod([one]), container=one, secrets=secrets, sandbox_config={})
    return await puller.ensure(request, told)


@pytest.mark.parametrize("policy", ["IfNotPresent", "Never", None])
@virtual
async def test_an_image_that_is_here_is_taken(policy):
    images, told = ModelImages("web:1"), Told()
    found = await ensure(ImagePuller(images, VirtualClock()), told, imagePullPolicy=policy)
    assert found == FOUND
    assert images.pulls == []
    assert told == [
        (
            "Normal",
            "Pulled",
            'Container image "web:1" already present on machine and can be accessed by the pod',
        )
    ]


@virtual
async def test_an_image_that_is_not_here_is_pulled():
    images, told = ModelImages(pullable=("web:1",)), Told()
    assert await ensure(ImagePuller(images, VirtualClock()), told) == FOUND
    assert told == [
        ("Normal", "Pulling", 'Pulling image "web:1"'),
        ("Normal", "Pulled", PULLED),
    ]


@virtual
async def test_always_means_pull():
    images = ModelImages("web:1", pullable=("web:1",))
    await ensure(ImagePuller(images, VirtualClock()), Told(), imagePullPolicy="Always")
    assert images.pulls == [("web:1", "")]


@virtual
async def test_never_means_never():
    told = Told()
    with pytest.raises(StartRefusedError) as refused:
        await ensure(ImagePuller(ModelImages(), VirtualClock()), told, imagePullPolicy="Never")
    message = 'Container image "web:1" is not present with pull policy of Never'
    assert (refused.value.reason, refused.value.message) == ("ErrImageNeverPull", message)
    assert told == [("Warning", "ErrImageNeverPull", message)]


@virtual
async def test_a_pull_that_failed_is_not_tried_again_at_once():
    clock, images, told = VirtualClock(), ModelImages(), Told()
    puller = ImagePuller(images, clock)
    reasons = []
    for wait in (0, 1, 10, 1, 20):
        await clock.sleep(wait)
        with pytest.raises(StartRefusedError) as refused:
            await ensure(puller, told)
        reasons.append(refused.value.reason)
    assert reasons == [
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImagePull",
    ]
    assert len(images.pulls) == 3
    assert ("Normal", "BackOff", 'Back-off pulling image "web:1"') in told
    assert told[1] == (
        "Warning",
        "Failed",
        'Failed to pull image "web:1": failed to resolve reference web:1',
    )


@virtual
async def test_a_back_off_tells_why():
    puller = ImagePuller(ModelImages(), VirtualClock())
    with pytest.raises(StartRefusedError):
        await ensure(puller, Told())
    with pytest.raises(StartRefusedError) as refused:
        await ensure(puller, Told())
    assert refused.value.message == (
        'Back-off pulling image "web:1": ErrImagePull: failed to resolve reference web:1'
    )


@virtual
async def test_a_name_that_is_none_is_refused():
    told = Told()
    with pytest.raises(StartRefusedError) as refused:
        await ensure(ImagePuller(ModelImages(), VirtualClock()), told, image="Web:1/")
    assert refused.value.reason == "InvalidImageName"
    assert told[0][:2] == ("Warning", "InspectFailed")


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("web", "web:latest"),
        ("web:1", "web:1"),
        ("r.example:5000/a/web", "r.example:5000/a/web:latest"),
        ("web@sha256:" + "0" * 64, "web@sha256:" + "0" * 64),
    ],
)
def test_an_image_without_tag_is_the_latest(image, expected):
    assert with_default_tag(image) == expected


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("web", "docker.io"),
        ("library/web", "docker.io"),
        ("r.example/web", "r.example"),
        ("r:5000/web", "r:5000"),
        ("localhost/web", "localhost"),
    ],
)
def test_the_registry_is_the_first_part_of_a_name(image, registry):
    assert registry_of(image) == registry


def pull_secret(**auths: Any) -> dict[str, Any]:
    text = json.dumps({"auths": {host.replace("_", "."): entry for host, entry in auths.items()}})
    return {"data": {".dockerconfigjson": base64.b64encode(text.encode()).decode()}}


AUTH = {"auth": base64.b64encode(b"me:pass:word").decode()}


def test_credentials_are_those_of_the_registry():
    secret = pull_secret(r_example=AUTH, other_example={"username": "x", "password": "y"})
    (found,) = credentials([secret], "r.example/web:1")
    assert (found["username"], found["password"]) == ("me", "pass:word")
    assert list(credentials([secret], "third.example/web:1")) == []


def test_a_broken_secret_opens_nothing():
    broken = {"data": {".dockerconfigjson": base64.b64encode(b"{").decode()}}
    assert list(credentials([broken, {"data": {}}], "r.example/web:1")) == []


def test_the_hub_has_several_names():
    secret = {
        "data": {
            ".dockercfg": base64.b64encode(
                json.dumps({"https://index.docker.io/v1/": AUTH}).encode()
            ).decode()
        }
    }
    assert [auth["username"] for auth in credentials([secret], "web:1")] == ["me"]


@virtual
async def test_credentials_are_tried_until_one_opens():
    images = ModelImages(pullable=("r.example/web:1",))
    secrets = [pull_secret(r_example=AUTH)]
    puller = ImagePuller(images, VirtualClock())
    await ensure(puller, Told(), secrets, image="r.example/web:1")
    assert images.pulls == [("r.example/web:1", "me")]


# --- the waits ----------------------------------------------------------------------------------


@virtual
async def test_waits_double_up_to_a_limit_and_begin_anew_after_a_good_while():
    clock = VirtualClock()
    waits = Backoffs(clock)
    seen = []
    for _ in range(7):
        waits.next("k")
        seen.append(waits.seconds("k"))
    assert seen == [10, 20, 40, 80, 160, 300, 300]
    await clock.sleep(601)
    waits.next("k", clock.monotonic())
    assert waits.seconds("k") == 10


@virtual
async def test_a_wait_counts_from_what_happened():
    clock = VirtualClock()
    waits = Backoffs(clock)
    assert waits.remaining("k", 0.0) == 0
    waits.next("k", 0.0)
    await clock.sleep(4)
    assert waits.remaining("k", 0.0) == 6
    assert waits.remaining("k", 3.0) == 9
    waits.forget("k")
    assert waits.remaining("k", 3.0) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (3661, "1h1m1s")]
)
def test_durations_are_written_as_go_writes_them(seconds, text):
    assert go_duration(seconds) == text
