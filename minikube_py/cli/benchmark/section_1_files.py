"""1.1: the files of the control plane."""

from pathlib import Path

from minikube_py.cli.benchmark.machine import Item, Machine, Result, absent, files_below

ONE_PROCESS = "there is no such file: the control plane is one process, started with flags"
CNI_FOLDER = Path("cni")


def _own(machine: Machine) -> list[Path]:
    return [machine.server.write_kubeconfig, machine.tls / "admin.key", machine.folder / "token"]


def _database(machine: Machine) -> list[Path]:
    return [machine.folder / "db"]


def _cni(machine: Machine) -> list[Path]:
    return [path for path in files_below(machine.agent / CNI_FOLDER, "") if path.is_file()]


def _certificates(machine: Machine) -> list[Path]:
    return files_below(machine.tls, ".crt")


def _keys(machine: Machine) -> list[Path]:
    return files_below(machine.tls, ".key")


def _pki(machine: Machine) -> list[Path]:
    return [machine.tls, *_certificates(machine), *_keys(machine)]


def _admin_modes(machine: Machine) -> Result:
    return machine.modes(_own(machine), 0o600)


ITEMS = (
    Item("1.1.1", "API server's pod file: mode", absent(ONE_PROCESS)),
    Item("1.1.2", "API server's pod file: owner", absent(ONE_PROCESS)),
    Item("1.1.3", "Controller manager's pod file: mode", absent(ONE_PROCESS)),
    Item("1.1.4", "Controller manager's pod file: owner", absent(ONE_PROCESS)),
    Item("1.1.5", "Scheduler's pod file: mode", absent(ONE_PROCESS)),
    Item("1.1.6", "Scheduler's pod file: owner", absent(ONE_PROCESS)),
    Item("1.1.7", "etcd's pod file: mode", absent(ONE_PROCESS)),
    Item("1.1.8", "etcd's pod file: owner", absent(ONE_PROCESS)),
    Item("1.1.9", "CNI files: mode 0600", lambda m: m.modes(_cni(m), 0o600)),
    Item("1.1.10", "CNI files: owner", lambda m: m.owned(_cni(m))),
    Item("1.1.11", "Data of the store: mode 0700", lambda m: m.modes(_database(m), 0o700)),
    Item("1.1.12", "Data of the store: owner", lambda m: m.owned(_database(m))),
    Item("1.1.13", "Administrator's credentials: mode 0600", _admin_modes),
    Item("1.1.14", "Administrator's credentials: owner", lambda m: m.owned(_own(m))),
    Item("1.1.15", "Scheduler's kubeconfig: mode", absent(ONE_PROCESS)),
    Item("1.1.16", "Scheduler's kubeconfig: owner", absent(ONE_PROCESS)),
    Item("1.1.17", "Controller manager's kubeconfig: mode", absent(ONE_PROCESS)),
    Item("1.1.18", "Controller manager's kubeconfig: owner", absent(ONE_PROCESS)),
    Item("1.1.19", "Certificates and keys: owner", lambda m: m.owned(_pki(m))),
    Item("1.1.20", "Certificates: mode 0644", lambda m: m.modes(_certificates(m), 0o644)),
    Item("1.1.21", "Keys: mode 0600", lambda m: m.modes(_keys(m), 0o600)),
)
