"""`kpy etcd`: the API of etcd over any datastore that kpy knows."""

import functools
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click

from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.datastore.face.config import EtcdConfig
from minikube_py.lib.errors import StartError


def run(**given: Any) -> None:
    """Load the options and serve until told to end."""
    config, program = load(EtcdConfig, ProgramConfig, given=given)
    from minikube_py.cli import running  # noqa: PLC0415 -- `--help` stays light
    from minikube_py.lib.log import configure  # noqa: PLC0415

    configure(program.log_level)
    look(config)
    running.run("etcd", lambda: serve(config, running.Phases()))


command = click.Command(
    "etcd",
    callback=run,
    params=parameters(EtcdConfig, ProgramConfig),
    help="Serve the etcd v3 API over a datastore. Ctrl-C stops it.",
)


def look(config: EtcdConfig) -> None:
    """Refuse what cannot work, or what would open the datastore to everybody.

    Raises:
        StartError: names the cause and the remedy.

    """
    from minikube_py.lib.net import is_loopback  # noqa: PLC0415

    for url in config.listen_client_urls:
        parts = urlsplit(url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise StartError(
                f"{url} would let everybody who reaches it read and write everything; listen on "
                "https:// with --cert-file, --key-file and --trusted-ca-file, or on 127.0.0.1"
            )


async def serve(config: EtcdConfig, report: Callable[[str], None]) -> None:
    """Open the datastore and serve it until cancelled."""
    import asyncio  # noqa: PLC0415

    from minikube_py.api.times import parse_duration  # noqa: PLC0415
    from minikube_py.datastore.compaction import compact_forever  # noqa: PLC0415
    from minikube_py.datastore.face.serving import Listening, serving  # noqa: PLC0415
    from minikube_py.datastore.kv import DatastoreError  # noqa: PLC0415
    from minikube_py.datastore.open import open_backend, size_bytes  # noqa: PLC0415
    from minikube_py.lib.clock import SystemClock  # noqa: PLC0415
    from minikube_py.lib.notify import notify  # noqa: PLC0415
    from minikube_py.lib.tasks import Nursery  # noqa: PLC0415

    clock = SystemClock()
    try:
        kept = parse_duration(config.auto_compaction_retention)
    except ValueError as error:
        raise StartError(f"--auto-compaction-retention: {error}; 5m is five minutes") from error
    size = functools.partial(size_bytes, config.datastore_endpoint, config.data_dir)
    listening = Listening(config.listen_client_urls, config.name, config.tls)
    try:
        backend = await open_backend(
            config.datastore_endpoint,
            data_dir=config.data_dir,
            retention=config.retention,
            tls=config.datastore_tls,
        )
    except DatastoreError as error:
        raise StartError(str(error)) from error
    try:
        async with serving(backend, listening, size), Nursery("etcd") as tasks:
            if kept:
                tasks.start("compaction", compact_forever(backend, clock, kept))
            report(f"etcd's API is served on {', '.join(config.listen_client_urls)}")
            notify("READY=1")
            await asyncio.Event().wait()
    finally:
        await backend.close()
