"""`kpy secrets-encrypt`: encryption of secrets at rest, seen and changed.

Each command writes what is wanted into the server's encryption configuration, whether the server
runs or not; a running one follows at once, and the command waits until every value is written so.
The verbs are those of `k3s secrets-encrypt`.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from minikube_py.agent.config import AgentConfig
from minikube_py.cli.config import ProgramConfig, load, parameters
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import FolderLock
from minikube_py.lib.inotify import Inotify
from minikube_py.server.config import ServerConfig
from minikube_py.server.encryption.configuration import (
    Configuration,
    Rule,
    Sealer,
    new_key,
    with_primary,
)
from minikube_py.server.encryption.files import Files, State

IDENTITY = Sealer("identity")
Change = Callable[[Rule], Rule]


def enabled(rule: Rule) -> Rule:
    """Return the rule in which a key seals: the newest that there is, or a fresh one."""
    keyed = next((sealer for sealer in rule.sealers if sealer != IDENTITY), None)
    return with_primary(rule, keyed or Sealer("aesgcm", new_key()))


def disabled(rule: Rule) -> Rule:
    """Return the rule in which values are stored as they are."""
    return with_primary(rule, IDENTITY)


def rotated(rule: Rule) -> Rule:
    """Return the rule in which a fresh key seals.

    Raises:
        StartError: encryption is off, so there is nothing to rotate.

    """
    if rule.sealers[0] == IDENTITY:
        raise StartError("encryption is disabled; run `kpy secrets-encrypt enable` first")
    names = [sealer.key.name for sealer in rule.sealers if sealer.key is not None]
    return with_primary(rule, Sealer("aesgcm", new_key(names)))


def describe(files: Files) -> str:
    """Return what `status` prints."""
    configuration, digest = files.read()
    state = files.read_state()
    lines = [f"configuration: {files.configuration}"]
    for rule in configuration.rules:
        first, *others = rule.sealers
        on = "disabled" if first == IDENTITY else f"enabled, by {first.title}"
        lines.append(f"{', '.join(rule.resources)}: {on}")
        lines += [f"  still read: {sealer.title}" for sealer in others]
    return "\n".join([*lines, f"re-encryption: {_progress(state, digest)}"])


def _progress(state: State, digest: str) -> str:
    if state.configuration != digest:
        return "not begun; the server does it while it runs"
    done = "finished" if state.finished else "under way"
    return f"{done}, {state.rewritten} of {state.checked} values written again"


def apply(files: Files, folder: Path, change: Change) -> None:
    """Write the changed configuration and wait until the datastore is as it says.

    Raises:
        StartError: the keys are not kpy's to change.

    """
    if not files.own:
        raise StartError(
            f"the keys are kept in {files.configuration}; change them there, the server follows it"
        )
    with files.changing():
        current, _ = files.read()
        wanted = Configuration(tuple(change(rule) for rule in current.rules))
        if wanted == current:
            click.echo(describe(files))
            return
        files.write(wanted)
    if _is_running(folder):
        asyncio.run(_follow(files))
    else:
        click.echo("the server does not run; it re-encrypts when it is started")


def _is_running(folder: Path) -> bool:
    try:
        FolderLock(folder).release()
    except StartError:
        return True
    return False


async def _follow(files: Files) -> None:
    """Print how far the server is until it has finished; Ctrl-C ends the waiting, not the work."""
    notify = Inotify()
    shown = ""
    try:
        with notify.folder(files.state.parent) as changed:
            while True:
                changed.clear()
                configuration, digest = files.read()
                state = files.read_state()
                text = _progress(state, digest)
                if text != shown:
                    click.echo(f"re-encryption: {text}")
                    shown = text
                settled = all(len(rule.sealers) == 1 for rule in configuration.rules)
                if settled and state.finished and state.configuration == digest:
                    return
                await changed.wait()
    finally:
        notify.close()


def _files(given: dict[str, Any]) -> tuple[Files, Path]:
    config, _, _ = load(ServerConfig, AgentConfig, ProgramConfig, given=given)
    folder = config.data_dir / "server"
    files = Files.of(folder, config.encryption_provider_config)
    if not files.configuration.exists():
        raise StartError(
            f"there is no {files.configuration}; start `kpy server` first, or pass its --data-dir"
        )
    return files, folder


def _verb(name: str, change: Change | None, text: str) -> click.Command:
    def run(**given: Any) -> None:
        files, folder = _files(given)
        if change is None:
            click.echo(describe(files))
        else:
            apply(files, folder, change)

    wanted = ("data_dir", "config", "encryption_provider_config")
    return click.Command(
        name,
        callback=run,
        params=[p for p in parameters(ServerConfig) if p.name in wanted],
        help=text,
    )


command = click.Group(
    "secrets-encrypt",
    help="Show and change how secrets are encrypted in the datastore.",
    commands=[
        _verb("status", None, "Print what encrypts secrets, and how far re-encryption is."),
        _verb("enable", enabled, "Encrypt secrets; those that are there are written again."),
        _verb("disable", disabled, "Store secrets as they are; those there are written again."),
        _verb("rotate", rotated, "Encrypt with a fresh key and drop the old one afterwards."),
    ],
)
