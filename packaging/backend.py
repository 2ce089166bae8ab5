"""The build backend: setuptools, with what is made before a wheel is.

`pip install -e .`, `pip wheel .` and `python -m build` come through here, so that no wheel lacks
`minikube_py/api/*.bin` or the image of the pod sandbox.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import build_schema
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 -- a backend is what it exports

HERE = Path(__file__).resolve().parent
AGENT = HERE.parent / "minikube_py" / "agent"


def ensure() -> None:
    """Make what is missing or older than what it is made from."""
    build_schema.ensure()
    script, source = HERE / "images" / "build_images.py", HERE / "images" / "pause.c"
    made = AGENT / "pause.tar"
    if made.exists() and made.stat().st_mtime >= max(f.stat().st_mtime for f in (script, source)):
        return
    subprocess.run([sys.executable, script, "--out", AGENT, "--only", "pause"], check=True)


def build_wheel(*args: Any, **options: Any) -> str:
    """Build a wheel, its tables and image first."""
    ensure()
    return build_meta.build_wheel(*args, **options)


def build_editable(*args: Any, **options: Any) -> str:
    """Build what an editable install needs, tables and image first."""
    ensure()
    return build_meta.build_editable(*args, **options)
