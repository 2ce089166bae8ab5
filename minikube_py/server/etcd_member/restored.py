"""The first member of a cluster that begins with a snapshot.

`kpy snapshot restore` leaves a snapshot of etcd in the member's folder; at the next start, which
knows the member's address, etcd's own program makes the member's data of it. The snapshot goes
last, so whatever was cut off before is begun again; etcd has not run until then.
"""

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import flush_dir
from minikube_py.server.etcd_member.layout import Layout, find_restorer

RESTORE_SECONDS_MAX = 600.0


async def restored(layout: Layout, data_dir: Path) -> None:
    """Make the member's data of the snapshot in its folder.

    Raises:
        StartError: the program for it is missing or refuses.

    """
    making = layout.data.with_name("data.restoring")
    for left in (making, layout.data):
        await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)
    await _run(
        find_restorer(data_dir),
        "snapshot",
        "restore",
        str(layout.restored),
        f"--data-dir={making}",
        f"--name={layout.name}",
        f"--initial-cluster={layout.own}",
        f"--initial-advertise-peer-urls={layout.peer_url}",
        f"--initial-cluster-token={layout.token}",
    )
    making.rename(layout.data)
    flush_dir(layout.folder)
    layout.restored.unlink()
    flush_dir(layout.folder)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "ETCDCTL_API": "3"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(RESTORE_SECONDS_MAX):
            output, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines() or ["it printed nothing"]
        raise StartError(f"{command[0]} cannot restore {command[3]}: {lines[-1][:500]}")
