"""Names of snapshots, and which of them have been kept long enough."""

import re
from collections.abc import Sequence

from minikube_py.datastore.snapshots.saving import Found
from minikube_py.lib.errors import StartError

ON_DEMAND, SCHEDULED = "on-demand", "scheduled"
_KIND = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)


def name_of(kind: str, node: str, seconds: int) -> str:
    """Return the name of a snapshot made at that second: KIND-NODE-SECONDS.

    Raises:
        StartError: the kind cannot be part of a name.

    """
    if not _KIND.fullmatch(kind):
        raise StartError(f"{kind!r} cannot be a name; use letters, digits, dots and dashes")
    return f"{kind}-{node}-{seconds}"


def outdated(found: Sequence[Found], kind: str, node: str, keep: int) -> Sequence[Found]:
    """Return the snapshots of a kind and node beyond the newest `keep`.

    Files that cannot be read as snapshots are neither counted nor returned: somebody may want to
    look at them.
    """
    name = re.compile(rf"{re.escape(kind)}-{re.escape(node)}-\d+")
    ours = [one for one in found if one.manifest is not None and name.fullmatch(one.path.stem)]
    ours.sort(key=lambda one: one.manifest.created if one.manifest is not None else "")
    return ours[: len(ours) - max(keep, 1)]
