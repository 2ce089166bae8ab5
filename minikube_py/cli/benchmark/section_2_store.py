"""2: the store. The embedded one is a file that only this process opens."""

from minikube_py.cli.benchmark.machine import Item, Machine, Result, absent

A_FILE = "the store is a file (SQLite) behind the API server, with no port and no peers"


def _file(machine: Machine) -> Result:
    return machine.modes([machine.folder / "db" / "state.db"], 0o600)


ITEMS = (
    Item("2.1", "The store's clients are spoken to with TLS", absent(A_FILE)),
    Item("2.2", "The store's clients show certificates", _file),
    Item("2.3", "No self-signed certificates for clients", absent(A_FILE)),
    Item("2.4", "The store's peers speak TLS", absent(A_FILE)),
    Item("2.5", "The store's peers show certificates", absent(A_FILE)),
    Item("2.6", "No self-signed certificates for peers", absent(A_FILE)),
    Item("2.7", "The store has an authority of its own", absent(A_FILE)),
)
