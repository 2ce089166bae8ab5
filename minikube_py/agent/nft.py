"""Changes to nftables: text that the program `nft` takes in one transaction, all or nothing.

A process of its own costs 5 ms a call; the library in this process would keep 300 MB after one
large load.
"""

import asyncio
import shutil

from minikube_py.lib.errors import StartError

TIMEOUT_SECONDS = 60.0
ERROR_MAX = 2000


class PacketFilterError(Exception):
    """A change of the packet filter was refused."""


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
    process = await asyncio.create_subprocess_exec(
        "nft",
        "-f",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            _, complaint = await process.communicate(text.encode())
    except TimeoutError as error:
        raise NftError(f"nft took longer than {TIMEOUT_SECONDS:.0f} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise NftError(complaint.decode(errors="replace").strip()[:ERROR_MAX])
