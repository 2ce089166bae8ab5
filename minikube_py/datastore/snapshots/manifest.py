"""What stands in the clear at the beginning of a snapshot: what it is of, and how to read it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from minikube_py.datastore.snapshots.errors import DamagedSnapshotError, SnapshotError

FORMAT = 1
MANIFEST_BYTES = 4096
"""Room for the manifest, which is written when all else is known; the rest is spaces."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A snapshot, told in numbers."""

    name: str
    created: str
    """When, in RFC 3339."""
    node: str
    revision: int
    keys: int = 0
    value_bytes: int = 0
    digest: str = ""
    """SHA-256 over all keys with values, revisions and leases, in order (`Content.digest`)."""
    content_bytes: int = 0
    content_digest: str = ""
    """SHA-256 over the content as it stands in the file."""
    sealed: Mapping[str, Any] | None = None
    """Terms of encryption; None where the content is in the clear."""
    kpy: str = ""
    kubernetes: str = ""

    @property
    def moment(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.created)

    def packed(self) -> bytes:
        """Return the bytes that stand in the file."""
        text = json.dumps({"kpySnapshot": FORMAT, **asdict(self)}, indent=1)
        if len(text) > MANIFEST_BYTES:
            raise SnapshotError("the name of the snapshot is too long")
        return text.ljust(MANIFEST_BYTES).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> "Manifest":
        """Read what `packed` wrote.

        Raises:
            DamagedSnapshotError: it is none, or cannot be read.
            SnapshotError: a newer kpy wrote it.

        """
        try:
            document = json.loads(data)
            version = document.pop("kpySnapshot")
            if version > FORMAT:
                raise SnapshotError(
                    f"it has format {version}, this kpy knows {FORMAT}; use a newer kpy"
                )
            manifest = cls(**document)
            manifest.moment  # noqa: B018 -- looked at, so that nobody stumbles over it later
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedSnapshotError("its manifest cannot be read") from error
        return manifest
