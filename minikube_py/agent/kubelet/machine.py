"""Reads the facts of the machine that kpy runs on; each missing file is a fact left empty."""

import os
import platform
import re
from pathlib import Path

from minikube_py.agent.kubelet.node_object import MachineFacts
from minikube_py.agent.kubelet.reserved import Reserved

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le"}
PAGES = Path("/sys/kernel/mm/hugepages")


def _text(*paths: str) -> str:
    for path in paths:
        try:
            return Path(path).read_text().strip()
        except OSError:
            continue
    return ""


def memory_bytes() -> int:
    """Return how much memory the machine has."""
    return _meminfo("MemTotal")


def swap_bytes() -> int:
    """Return how much memory the machine can write to its disks."""
    return _meminfo("SwapTotal")


def _meminfo(name: str) -> int:
    match = re.search(rf"{name}:\s+(\d+) kB", _text("/proc/meminfo"))
    return int(match[1]) * 1024 if match else 0


def has_apparmor() -> bool:
    """Tell whether the kernel confines programs by AppArmor profiles."""
    return _text("/sys/module/apparmor/parameters/enabled").startswith("Y")


def _os_image() -> str:
    for line in _text("/etc/os-release", "/usr/lib/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip('"')
    return platform.system()


def _huge_pages() -> dict[str, int]:
    found = {"2Mi": 0, "1Gi": 0}
    if PAGES.exists():
        for folder in PAGES.iterdir():
            kilobytes = int(folder.name.removeprefix("hugepages-").removesuffix("kB"))
            size = f"{kilobytes >> 20}Gi" if kilobytes >= 1 << 20 else f"{kilobytes >> 10}Mi"
            found[size] = int(_text(str(folder / "nr_hugepages")) or 0) * kilobytes * 1024
    return found


def machine_facts(folder: Path, reserved: Reserved | None = None) -> MachineFacts:
    """Return the facts; the disk is the one that `folder` lies on."""
    disk = os.statvfs(folder)
    machine_id = _text("/etc/machine-id", "/var/lib/dbus/machine-id")
    system = platform.uname()
    return MachineFacts(
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=memory_bytes(),
        swap_bytes=swap_bytes(),
        disk_bytes=disk.f_blocks * disk.f_frsize,
        huge_pages=_huge_pages(),
        machine_id=machine_id,
        system_uuid=_text("/sys/class/dmi/id/product_uuid") or machine_id,
        boot_id=_text("/proc/sys/kernel/random/boot_id"),
        kernel_version=system.release,
        os_image=_os_image(),
        architecture=ARCHITECTURES.get(system.machine, system.machine),
        reserved=reserved or Reserved(),
    )
