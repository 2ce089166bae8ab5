"""User namespaces of pods (`hostUsers: false`): which ids of the node each of them has.

The book is on disk, in the folders of the pods: `pods/<uid>/userns` says what a pod was given, and
goes with the folder. A pod has 65,536 ids in a row, users and groups alike, and no two pods share
any; the first block belongs to the node itself. Format and default range are those of upstream's
userns manager. That every mount is shown with the pod's ids is the runtime's work.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.agent.cri.runtime import RuntimeStatus
from minikube_py.api.object import Obj, get, uid_of
from minikube_py.lib.fsutil import write_atomic

IDS = 65536
"""How many ids a pod has."""
FILE = "userns"
SUBORDINATE = (Path("/etc/subuid"), Path("/etc/subgid"))
USER = "kubelet"
"""Whose entries in those files give another range to take ids from."""


class UserNamespaceError(Exception):
    """The pod cannot have a user namespace; the message is upstream's."""


@dataclass(frozen=True)
class Range:
    """Ids of the node that pods may have."""

    first: int = IDS
    count: int = IDS * 110
    """Room for as many pods as a node takes."""

    @property
    def blocks(self) -> range:
        """Where each block of ids begins."""
        return range(self.first, self.first + self.count // IDS * IDS, IDS)


def given_range(pods: int, files: tuple[Path, Path] = SUBORDINATE) -> Range:
    """Return the range that the machine gives to the kubelet, or the default one.

    Raises:
        UserNamespaceError: the files give one that cannot be used.

    """
    entries = [list(_entries(path)) for path in files]
    if not any(entries):
        return Range(IDS, IDS * pods)
    users, groups = entries
    if len(users) != 1 or users != groups:
        raise UserNamespaceError("the entries of subuid and subgid must be one and the same range")
    found = users[0]
    if found.first < IDS or found.first % IDS or found.count < IDS * pods:
        raise UserNamespaceError(
            f"user range {found.first}:{found.count} must begin at a multiple of {IDS}, not below"
            f" it, and have room for {pods} pods"
        )
    return found


def _entries(path: Path) -> Iterator[Range]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        name, _, numbers = line.partition(":")
        first, _, count = numbers.partition(":")
        if name == USER and first.isdigit() and count.isdigit():
            yield Range(int(first), int(count))


class UserNamespaces:
    """The ids of the pods of this node."""

    def __init__(self, pods: Path, ids: Range = Range()) -> None:
        """Take the folder of the folders of pods."""
        self._pods = pods
        self._ids = ids

    def of(self, pod: Obj, runtime: RuntimeStatus, handler: str) -> dict[str, Any] | None:
        """Return the UserNamespace of CRI for a pod; None where it has the node's users.

        Raises:
            UserNamespaceError: it cannot have one of its own.

        """
        if get(pod, "spec.hostUsers", default=True) is not False:
            return None
        if not runtime.can(handler).user_namespaces:
            raise UserNamespaceError(
                f'RuntimeClass handler "{handler}" does not support user namespaces'
            )
        first = self._first(uid_of(pod))
        mapping = {"host_id": first, "container_id": 0, "length": IDS}
        return {"mode": "POD", "uids": [mapping], "gids": [mapping]}

    def _first(self, uid: str) -> int:
        """Return where the ids of a pod begin; a pod keeps what it was given."""
        file = self._pods / uid / FILE
        if (known := _read(file)) is not None:
            return known
        taken = {_read(path) for path in self._pods.glob(f"*/{FILE}")}
        free = next((first for first in self._ids.blocks if first not in taken), None)
        if free is None:
            raise UserNamespaceError("could not find an empty slot to allocate a user namespace")
        mapping = [{"hostId": free, "containerId": 0, "length": IDS}]
        record = {"uidMappings": mapping, "gidMappings": mapping}
        file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        write_atomic(file, json.dumps(record).encode())
        return free


def _read(path: Path) -> int | None:
    try:
        record: Mapping[str, Any] = json.loads(path.read_bytes())
        return int(record["uidMappings"][0]["hostId"])
    except (OSError, ValueError, LookupError, TypeError):
        return None  # a file that was lost in a power cut: its pod gets another block
