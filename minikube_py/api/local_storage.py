"""What the provisioner of local volumes and the nodes tell each other, in annotations of the Node.

A node says where it keeps volumes and how much room there is, and which of the unwanted ones are
gone from its disk. The provisioner says which ones are unwanted. Both sides only ever write what
is true now, so whatever was lost in a crash is said again. See decisions/0013-local-volumes.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import orjson

from minikube_py.api.object import Obj, annotations_of

PROVISIONER: Final = "local-path.kpy.dev"
CLASS: Final = "local-path"
OFFER: Final = "kpy.dev/local-storage"
"""On a Node, by the node: its `Offer`."""
UNWANTED: Final = "kpy.dev/unwanted-volumes"
"""On a Node, by the provisioner: names of volumes whose data is to go."""
ON_NODE: Final = "kpy.dev/node"
"""On a PersistentVolume: the name of the node that has it."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a node has for volumes."""

    path: str
    """Folder that holds a folder for each volume."""
    total: int
    """Bytes of the file system."""
    available: int
    """Bytes that nobody uses now."""
    removed: tuple[str, ...] = ()
    """Those of the unwanted volumes of which nothing is left."""

    def text(self) -> str:
        """Return the value of the annotation."""
        return orjson.dumps(
            {
                "path": self.path,
                "total": self.total,
                "available": self.available,
                "removed": list(self.removed),
            }
        ).decode()


def offer_of(node: Obj) -> Offer | None:
    """Return what a node has for volumes; None where it has said nothing that makes sense."""
    try:
        found = orjson.loads(annotations_of(node).get(OFFER, ""))
        return Offer(
            path=str(found["path"]),
            total=int(found["total"]),
            available=int(found["available"]),
            removed=tuple(str(name) for name in found["removed"]),
        )
    except (KeyError, OverflowError, TypeError, ValueError):
        return None


def unwanted_of(node: Obj) -> frozenset[str]:
    """Return the names of the volumes whose data is to go from a node."""
    return frozenset(annotations_of(node).get(UNWANTED, "").split(",")) - {""}


def unwanted_text(names: Iterable[str]) -> str:
    """Return the value of the annotation."""
    return ",".join(sorted(names))
