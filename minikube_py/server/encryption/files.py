"""The two files of encryption at rest: what is wanted, and how far the datastore is with it.

`encryption-config.yaml` is an EncryptionConfiguration. kpy makes it at the first start, and who
wants other keys changes it (`kpy secrets-encrypt`) while the server runs or not: the server
follows the file. `encryption-state.json` says which configuration the whole datastore is written
by. A process that dies between any two writes is made good by the next one: as long as the state
is not that of the configuration, everything is looked through again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import PRIVATE, read_if_there, write_atomic
from minikube_py.server.encryption import configuration as config
from minikube_py.server.encryption.configuration import Configuration

CONFIGURATION, STATE, LOCK = (
    "encryption-config.yaml",
    "encryption-state.json",
    ".encryption.lock",
)


@dataclass(frozen=True)
class State:
    """How far re-encryption is."""

    configuration: str = ""
    """Digest of the configuration that this is about."""
    keys: str = ""
    """Ids of the keys that key services used."""
    finished: bool = False
    past: bool = False
    """Whether the history was looked through, too."""
    checked: int = 0
    """Values looked at."""
    rewritten: int = 0
    """Values that were stored otherwise."""


@dataclass(frozen=True)
class Files:
    """Where they are; `own` tells whether kpy itself keeps the keys."""

    configuration: Path
    state: Path
    own: bool = True

    @classmethod
    def of(cls, folder: Path, given: str = "") -> "Files":
        """Return the files of a server's folder; `given` is a configuration of the user's."""
        path = Path(given) if given else folder / CONFIGURATION
        return cls(path, folder / STATE, own=not given)

    def read(self) -> tuple[Configuration, str]:
        """Return the configuration and its digest.

        Raises:
            StartError: there is none, or it cannot be used.

        """
        data = read_if_there(self.configuration)
        if data is None:
            raise StartError(f"there is no {self.configuration}; bring it back or pass another")
        try:
            return config.read(data), digest(data)
        except ValueError as error:
            raise StartError(f"{self.configuration} {error}; mend it") from error

    def write(self, wanted: Configuration) -> None:
        """Replace the configuration."""
        write_atomic(self.configuration, config.write(wanted))

    def read_state(self) -> State:
        """Return how far re-encryption is; nothing where that cannot be read."""
        data = read_if_there(self.state)
        try:
            return State(**json.loads(data)) if data is not None else State()
        except (ValueError, TypeError):
            return State()

    def write_state(self, state: State) -> None:
        """Say how far re-encryption is."""
        write_atomic(self.state, json.dumps(asdict(state)).encode())

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Keep others from changing the configuration for the length of the block."""
        handle = os.open(
            self.configuration.with_name(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def digest(data: bytes) -> str:
    """Return what tells two configurations apart without saying their keys."""
    return hashlib.sha256(data).hexdigest()
