"""Three ways to say what should change: JSON patch, merge patch, strategic merge patch.

Each is a pure function from an object and a parsed patch to a new object, which shares what did
not change; neither argument is touched. (The fourth way, server-side apply, is `api.apply`.)
"""

from minikube_py.api.patch.errors import (
    InapplicablePatchError,
    MalformedPatchError,
    PatchError,
    PatchTooLargeError,
    UnusablePatchError,
)

__all__ = (
    "InapplicablePatchError",
    "MalformedPatchError",
    "PatchError",
    "PatchTooLargeError",
    "UnusablePatchError",
)
