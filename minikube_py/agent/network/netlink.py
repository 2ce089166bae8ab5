"""Netlink sockets of pyroute2, loaded in 0.1 s when first needed, and by its parts alone.

The package's front imports all that it can do, databases and processes of its own included: 6 MB
in a process that lives for months. Its parts are imported by their full names here, so the front
is passed by: an empty one stands in its place.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

FRONT = "pyroute2"


def _load() -> None:
    """Have the package without its front, unless somebody has loaded that already."""
    if FRONT in sys.modules:
        return
    spec = importlib.util.find_spec(FRONT)
    if spec is None or spec.submodule_search_locations is None:
        return  # the import that follows says what is wrong
    front = ModuleType(FRONT)
    front.__path__ = list(spec.submodule_search_locations)
    front.__spec__ = spec
    sys.modules[FRONT] = front


@contextlib.contextmanager
def netlink() -> Iterator[Any]:
    """Open a socket for links, addresses and routes."""
    _load()
    from pyroute2.iproute.linux import IPRoute  # noqa: PLC0415

    with IPRoute() as socket:
        yield socket


def refusal() -> Any:
    """Return the class of errors by which the kernel refuses."""
    _load()
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    return NetlinkError
