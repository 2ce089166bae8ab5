"""What can be wrong with a snapshot."""

from minikube_py.datastore.kv import DatastoreError


class SnapshotError(DatastoreError):
    """A snapshot cannot be made or used; the message says why and what to do."""


class DamagedSnapshotError(SnapshotError):
    """The file is not what was written."""


class PassphraseError(SnapshotError):
    """The passphrase is missing or wrong."""
