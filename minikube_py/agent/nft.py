"""Changes to nftables: text that is carried out in one transaction, all or nothing.

Small ones go to the library in this process, in a thread: a third of a millisecond. Large ones go
to the program `nft`, a process of its own that costs 5 ms, because the library would keep 300 MB
after one large load. Where the library is not there the program does for all.
"""

import asyncio
import ctypes
import functools
import shutil
from typing import Any

from minikube_py.lib import programs
from minikube_py.lib.errors import StartError
from minikube_py.lib.programs import ProgramError

TIMEOUT_SECONDS = 60.0
SMALL_BYTES = 32 * 1024
"""Some hundred elements: what a service or a node changes."""
LIBRARY = "libnftables.so.1"
ERROR_MAX = 2000


class PacketFilterError(Exception):
    """A change of the packet filter was refused."""

    is_partial = False
    """Whether all the rest was done."""


class NftError(PacketFilterError):
    """The kernel or nft refused a change; nothing of it was done."""


def require_nft() -> None:
    """Make sure that the program is there.

    Raises:
        StartError: it is not; names the package.

    """
    if shutil.which("nft") is None:
        raise StartError("nft is missing; install the package nftables")


async def apply(text: str) -> None:
    """Carry out a change in one transaction.

    Raises:
        NftError: it was refused, or took longer than a minute.

    """
    library = _library() if len(text) <= SMALL_BYTES else None
    if library is None:
        await _apply_in_process_of_its_own(text)
    else:
        await asyncio.to_thread(_apply_here, library, text)


@functools.cache
def _library() -> Any:
    """Return the library, None where it is not there."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    library.nft_ctx_new.restype = ctypes.c_void_p
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    for name in ("buffer_error", "buffer_output", "get_error_buffer", "free"):
        getattr(library, f"nft_ctx_{name}").argtypes = [ctypes.c_void_p]
    library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    return library


def _apply_here(library: Any, text: str) -> None:
    """Carry out a change; each call has a context of its own, so that threads do not meet."""
    context = library.nft_ctx_new(0)
    if not context:
        raise NftError("the library has no memory")
    try:
        library.nft_ctx_buffer_error(context)
        library.nft_ctx_buffer_output(context)
        if library.nft_run_cmd_from_buffer(context, text.encode()) != 0:
            complaint: bytes = library.nft_ctx_get_error_buffer(context)
            raise NftError(complaint.decode(errors="replace").strip()[:ERROR_MAX])
    finally:
        library.nft_ctx_free(context)


async def _apply_in_process_of_its_own(text: str) -> None:
    try:
        ended = await programs.run("nft", "-f", "-", stdin=text, seconds=TIMEOUT_SECONDS)
    except ProgramError as error:
        raise NftError(str(error)) from error
    if ended.status != 0:
        raise NftError(ended.complaint)
