"""Who may use an image that is here: those who could have pulled it, and nobody else."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from minikube_py.agent.kubelet.errors import StartRefusedError
from minikube_py.agent.kubelet.image_records import ALWAYS, NEVER, ImageRecords, repository
from minikube_py.agent.kubelet.images import ImagePuller
from tests.unit.agent.kubelet.test_images import ModelImages, Told, ensure
from tests.virtual_time import VirtualClock, virtual

IMAGE = "r.example/web:1"


def secret(name: str, password: str) -> dict[str, Any]:
    auths = {"auths": {"r.example": {"username": "me", "password": password}}}
    data = base64.b64encode(json.dumps(auths).encode()).decode()
    metadata = {"name": name, "namespace": "d", "uid": f"uid-{name}"}
    return {"metadata": metadata, "data": {".dockerconfigjson": data}}


def puller(tmp_path: Path, images: ModelImages, policy: str = "") -> ImagePuller:
    records = ImageRecords(tmp_path, policy) if policy else ImageRecords(tmp_path)
    return ImagePuller(images, VirtualClock(), records=records)


async def wants(one: ImagePuller, *secrets: Any, policy: str = "IfNotPresent") -> None:
    await ensure(one, Told(), list(secrets), image=IMAGE, imagePullPolicy=policy)


@virtual
async def test_a_pod_without_the_secret_has_to_pull_for_itself(tmp_path):
    images = ModelImages(pullable=(IMAGE,))
    made = puller(tmp_path, images)
    await wants(made, secret("s", "right"))
    await wants(made, secret("s", "right"))
    await wants(made, secret("another", "right"))  # another secret, the same contents
    assert images.pulls == [(IMAGE, "me")]
    # Also after a restart:
    images.pullable.clear()
    again = puller(tmp_path, images)
    await wants(again, secret("s", "right"))
    for offered in ((), (secret("t", "wrong"),)):
        with pytest.raises(StartRefusedError) as caught:
            await wants(puller(tmp_path, images), *offered)
        assert caught.value.reason == "ErrImagePull"
    with pytest.raises(StartRefusedError) as caught:
        await wants(again, policy="Never")
    assert caught.value.reason == "ErrImageNeverPull"
    assert "right" not in "".join(path.read_text() for path in tmp_path.rglob("sha256-*"))


@virtual
async def test_who_pulls_for_himself_may_use_it_from_then_on(tmp_path):
    images = ModelImages(pullable=(IMAGE,))
    made = puller(tmp_path, images)
    await wants(made, secret("s", "one"))
    await wants(made, secret("t", "two"))
    await wants(made, secret("t", "two"))
    await wants(made, secret("s", "one"))
    assert len(images.pulls) == 2
    # Pulled once without any secret, it is everybody's.
    await wants(made)
    await wants(made)
    assert len(images.pulls) == 3


@pytest.mark.parametrize(("policy", "pulls"), [("", 0), (NEVER, 0), (ALWAYS, 1)])
@virtual
async def test_what_the_kubelet_did_not_pull_is_everybody_s_unless_told_otherwise(
    tmp_path, policy, pulls
):
    images = ModelImages(IMAGE, pullable=(IMAGE,))
    await wants(puller(tmp_path, images, policy))
    assert len(images.pulls) == pulls


@virtual
async def test_a_pull_that_a_crash_cut_short_leaves_nothing_open(tmp_path):
    ImageRecords(tmp_path).begun(IMAGE)
    images = ModelImages(IMAGE, pullable=(IMAGE,))
    await wants(puller(tmp_path, images), secret("s", "one"))
    assert len(images.pulls) == 1
    assert not list((tmp_path / "image_manager/pulling").iterdir())


@virtual
async def test_a_pull_that_fails_leaves_no_trace(tmp_path):
    with pytest.raises(StartRefusedError):
        await wants(puller(tmp_path, ModelImages()))
    assert not list((tmp_path / "image_manager/pulling").iterdir())
    assert not (tmp_path / "image_manager/pulled").exists()


def test_what_was_here_before_stays_everybody_s_when_it_is_pulled_by_another_name(tmp_path):
    auth = ({"username": "me"}, secret("s", "one"))
    records = ImageRecords(tmp_path)
    records.done("private.example/a:1", "sha256:1", auth, ["preloaded/a:1", "private.example/a:1"])
    assert not records.must_pull("preloaded/a:1", "sha256:1", ())
    records.done("private.example/b:1", "sha256:2", auth, ["private.example/b:1"])
    assert records.must_pull("private.example/b:1", "sha256:2", ())
    assert records.must_pull("other.example/b:1", "sha256:2", ())
    records.done("public.example/b:1", "sha256:2", None, ["public.example/b:1"])
    assert not records.must_pull("other.example/b:1", "sha256:2", ())


def test_records_of_images_that_are_gone_are_forgotten(tmp_path):
    records = ImageRecords(tmp_path)
    records.done(IMAGE, "sha256:1", None)
    records.done(IMAGE, "sha256:2", None)
    records.prune({"sha256:2"})
    assert len(list((tmp_path / "image_manager/pulled").iterdir())) == 1


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("r:5000/a/web:1", "r:5000/a/web"),
        ("r:5000/a/web", "r:5000/a/web"),
        ("web@sha256:0", "web"),
        ("web:1@sha256:0", "web"),
    ],
)
def test_a_repository_has_neither_tag_nor_digest(image, name):
    assert repository(image) == name
