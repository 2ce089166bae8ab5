"""Who may use an image that is on the node already: those who could have pulled it.

    image_manager/pulling/sha256-<hash of the name>   a pull of that name has begun
    image_manager/pulled/sha256-<hash of the id>      who pulled an image, and with which secrets

An image that was pulled with a pod's secret is for pods that have this secret, or one with the same
contents; others have to pull it themselves, and fail where they cannot. Images that the kubelet did
not pull are everybody's (policy NeverVerifyPreloadedImages). Secrets are kept as hashes. The rules
are those of upstream's pkg/kubelet/images/pullmanager.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from minikube_py.api.object import Obj, key_of, uid_of
from minikube_py.lib.fsutil import write_atomic

NEVER, PRELOADED, ALWAYS = "NeverVerify", "NeverVerifyPreloadedImages", "AlwaysVerify"
POLICIES = (PRELOADED, NEVER, ALWAYS)
FOLDER = "image_manager"
Credentials = Iterable[tuple[Mapping[str, Any], Obj]]
"""What opens a registry, with the secret that it stands in."""


def repository(image: str) -> str:
    """Return the name of an image without tag and digest."""
    name = image.partition("@")[0]
    first, colon, last = name.rpartition(":")
    return first if colon and "/" not in last else name


def _hash(text: str) -> str:
    return f"sha256-{hashlib.sha256(text.encode()).hexdigest()}"


def _secret(auth: Mapping[str, Any], secret: Obj) -> dict[str, str]:
    """Return what is kept of a secret: where it lies, and a hash of what it opens with."""
    namespace, name = key_of(secret)
    text = json.dumps(dict(auth), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"uid": uid_of(secret), "namespace": namespace, "name": name, "credentialHash": digest}


class ImageRecords:
    """The pulls of this node, on disk."""

    def __init__(self, root: Path, policy: str = PRELOADED) -> None:
        """Take the kubelet's folder."""
        self._pulling = root / FOLDER / "pulling"
        self._pulled = root / FOLDER / "pulled"
        self._policy = policy

    def begun(self, image: str) -> None:
        """Write down that a pull begins: whatever it brings is not everybody's."""
        self._pulling.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(self._pulling / _hash(image), json.dumps({"image": image}).encode())

    def failed(self, image: str) -> None:
        """Take note that a pull brought nothing."""
        (self._pulling / _hash(image)).unlink(missing_ok=True)

    def done(
        self,
        image: str,
        image_id: str,
        used: tuple[Mapping[str, Any], Obj] | None,
        names: Iterable[str] = (),
    ) -> None:
        """Write down who may use an image; `used` is None where it was pulled without a secret.

        `names` are all that the image has: where it is pulled for the first time, it was here under
        the others before, everybody's.
        """
        path = self._pulled / _hash(image_id)
        preloaded = {repository(name) for name in names} - {repository(image)}
        record = _read(path) or {
            "imageRef": image_id,
            "credentialMapping": {name: {"nodePodsAccessible": True} for name in preloaded},
        }
        mapping: dict[str, Any] = record["credentialMapping"]
        known = mapping.get(repository(image)) or {}
        if used is None or known.get("nodePodsAccessible"):
            mapping[repository(image)] = {"nodePodsAccessible": True}
        else:
            mine = _secret(*used)
            others = [
                one
                for one in known.get("kubernetesSecrets") or ()
                if (one["namespace"], one["name"]) != (mine["namespace"], mine["name"])
            ]
            mapping[repository(image)] = {"kubernetesSecrets": [*others, mine]}
        self._pulled.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, json.dumps(record).encode())
        self.failed(image)

    def must_pull(self, image: str, image_id: str, offered: Credentials) -> bool:
        """Tell whether a pod with these credentials has to pull an image that is here already."""
        if self._policy == NEVER:
            return False
        record = _read(self._pulled / _hash(image_id))
        if record is None:
            under_way = (self._pulling / _hash(image)).exists()
            return self._policy == ALWAYS or under_way
        mapping = record["credentialMapping"]
        if any(one.get("nodePodsAccessible") for one in mapping.values()):
            return False  # upstream looks at this name alone, but what is in it is known to all
        known = mapping.get(repository(image))
        if known is None:
            return True
        hashes = {one["credentialHash"] for one in known.get("kubernetesSecrets") or ()}
        return all(_secret(*one)["credentialHash"] not in hashes for one in offered)

    def prune(self, present: Collection[str]) -> None:
        """Forget images that are not on the node any more; takes the ids of those that are."""
        kept = {_hash(one) for one in present}
        for path in self._pulled.glob("sha256-*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record.get("credentialMapping"), dict) else None
