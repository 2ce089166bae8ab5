"""Builds the images that kpy carries: the pod sandbox and, for tests and examples, busybox.

Each becomes an OCI layout in a tar archive that containerd imports under its own name, so nothing
is pulled from anywhere. The same inputs give the same bytes: times, owners and order are fixed,
and layers are not compressed, because compressors differ from version to version.

    python3 packaging/images/build_images.py --out build/images [--only pause]
"""

import argparse
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
OCI = "application/vnd.oci.image"
# -z noseparate-code and -n pack all segments in one page: the program is under a kilobyte.
PAUSE_FLAGS = ("-Os", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector",
               "-fno-asynchronous-unwind-tables", "-Wall", "-Wextra", "-Werror",
               "-Wl,--build-id=none", "-Wl,-z,noseparate-code", "-Wl,-n", "-s")  # fmt: skip
ELF_INTERPRETER = 3
"""Type of the ELF program header that names a dynamic linker."""


class BuildError(Exception):
    """An image cannot be built; the text says why and what to do."""


class Entry(NamedTuple):
    """One thing in a layer; a link has `target`, a folder neither target nor data."""

    path: str
    mode: int = 0o755
    data: bytes | None = None
    target: str = ""


class Image(NamedTuple):
    """A single-layer image."""

    name: str
    entries: tuple[Entry, ...]
    config: Mapping[str, Any]


def pause_image() -> Image:
    """Compile pause.c and wrap it."""
    if shutil.which("gcc") is None:
        raise BuildError("gcc is missing; install the package gcc")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "pause"
        command = ["gcc", *PAUSE_FLAGS, "-o", str(program), "pause.c"]
        result = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise BuildError(f"gcc could not compile pause.c: {result.stderr.strip()}")
        binary = program.read_bytes()
    config = {"Entrypoint": ["/pause"], "User": "65535:65535", "WorkingDir": "/"}
    return Image("kpy.local/pause:1", (Entry("pause", data=binary),), config)


def busybox_image(busybox: Path) -> Image:
    """Wrap Debian's static busybox with a link for every applet and the files a shell expects."""
    try:
        binary = busybox.read_bytes()
    except OSError as error:
        raise BuildError(
            f"{busybox}: {error.strerror}; install the package busybox-static"
        ) from error
    if not is_static(binary):
        raise BuildError(f"{busybox} is not static; install the package busybox-static")
    listing = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    config = {
        "Cmd": ["sh"],
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "WorkingDir": "/",
    }
    entries = tuple(busybox_entries(binary, sorted(set(listing.stdout.split()))))
    return Image("kpy.local/busybox:1", entries, config)


def busybox_entries(binary: bytes, applets: list[str]) -> Iterator[Entry]:
    """Yield the file system of the busybox image, folders before what is in them."""
    folders = ("bin", "dev", "etc", "home", "proc", "root", "run", "sbin", "sys", "usr", "usr/bin",
               "usr/sbin", "var", "var/log", "var/spool", "var/www")  # fmt: skip
    for folder in folders:
        yield Entry(folder, 0o700 if folder == "root" else 0o755)
    yield Entry("tmp", 0o1777)
    yield Entry("var/tmp", 0o1777)
    yield Entry("bin/busybox", data=binary)
    yield from (Entry(f"bin/{name}", target="busybox") for name in applets if name != "busybox")
    # Absolute paths of the two programs that scripts and manifests call by other folders.
    yield Entry("usr/bin/env", target="/bin/busybox")
    for path, text in busybox_files().items():
        yield Entry(path, 0o644, text.encode())


def busybox_files() -> dict[str, str]:
    """Return the configuration files of the busybox image."""
    return {
        "etc/group": "root:x:0:\ndaemon:x:1:\nwww-data:x:33:\nnogroup:x:65534:\n",
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "etc/passwd": (
            "root:x:0:0:root:/root:/bin/sh\n"
            "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
            "www-data:x:33:33:www-data:/var/www:/bin/false\n"
            "nobody:x:65534:65534:nobody:/home:/bin/false\n"
        ),
    }


def is_static(binary: bytes) -> bool:
    """Tell whether a 64-bit little-endian ELF program needs no dynamic linker."""
    if binary[:6] != b"\x7fELF\x02\x01":
        return False
    table = int.from_bytes(binary[32:40], "little")
    size, count = (int.from_bytes(binary[at : at + 2], "little") for at in (54, 56))
    starts = (table + index * size for index in range(count))
    types = (int.from_bytes(binary[at : at + 4], "little") for at in starts)
    return ELF_INTERPRETER not in types


def layer_of(entries: tuple[Entry, ...]) -> bytes:
    """Return the uncompressed tar of a layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry in entries:
            add(archive, entry)
    return buffer.getvalue()


def add(archive: tarfile.TarFile, entry: Entry) -> None:
    """Add one entry with owner root and time zero (TarInfo's defaults)."""
    info = tarfile.TarInfo(entry.path)
    info.mode = entry.mode
    if entry.target:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
    elif entry.data is None:
        info.type = tarfile.DIRTYPE
    else:
        info.size = len(entry.data)
    archive.addfile(info, io.BytesIO(entry.data) if entry.data is not None else None)


def archive_of(image: Image, architecture: str) -> bytes:
    """Return the image as an OCI layout in a tar archive."""
    layer = layer_of(image.entries)
    config = encode({
        "architecture": architecture,
        "config": image.config,
        "created": "1970-01-01T00:00:00Z",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    })  # fmt: skip
    manifest = encode({
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": descriptor(f"{OCI}.config.v1+json", config),
        "layers": [descriptor(f"{OCI}.layer.v1.tar", layer)],
    })  # fmt: skip
    named = descriptor(f"{OCI}.manifest.v1+json", manifest) | {
        "annotations": {
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
        },
        "platform": {"architecture": architecture, "os": "linux"},
    }
    blobs = {f"blobs/sha256/{digest(blob)[7:]}": blob for blob in (layer, config, manifest)}
    files = {
        "oci-layout": encode({"imageLayoutVersion": "1.0.0"}),
        "index.json": encode({"schemaVersion": 2, "manifests": [named]}),
        **dict(sorted(blobs.items())),
    }
    folders = (Entry("blobs"), Entry("blobs/sha256"))
    return layer_of(folders + tuple(Entry(path, 0o644, data) for path, data in files.items()))


def architecture_of(machine: str) -> str:
    """Return OCI's name of a machine type."""
    if machine not in ARCHITECTURES:
        raise BuildError(f"no images for the architecture {machine}")
    return ARCHITECTURES[machine]


def digest(blob: bytes) -> str:
    """Return the OCI digest of a blob."""
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    """Return the OCI descriptor of a blob."""
    return {"mediaType": media_type, "digest": digest(blob), "size": len(blob)}


def encode(document: Mapping[str, Any]) -> bytes:
    """Return the one JSON form of a document."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def write(path: Path, data: bytes) -> None:
    """Put a file in place whole: who reads the folder never sees half an archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_bytes(data)
    part.replace(path)


def main() -> int:
    """Build what was asked for; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the archives")
    parser.add_argument("--only", choices=("pause", "busybox"), help="build only this one")
    parser.add_argument("--busybox", type=Path, default=Path("/bin/busybox"), help="static busybox")
    arguments = parser.parse_args()
    builders = {"pause": pause_image, "busybox": lambda: busybox_image(arguments.busybox)}
    try:
        architecture = architecture_of(platform.machine())
        for name, build in builders.items():
            if arguments.only in (None, name):
                write(arguments.out / f"{name}.tar", archive_of(build(), architecture))
    except BuildError as error:
        print(f"build_images: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
