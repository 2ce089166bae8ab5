"""The build backend: setuptools, with the tables that are made before a wheel is.

`pip install -e .`, `pip wheel .` and `python -m build` come through here, so that no wheel lacks
`minikube_py/api/*.bin`.
"""

from typing import Any

import build_schema
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 -- a backend is what it exports


def build_wheel(*args: Any, **options: Any) -> str:
    """Build a wheel, the tables first."""
    build_schema.ensure()
    return build_meta.build_wheel(*args, **options)


def build_editable(*args: Any, **options: Any) -> str:
    """Build what an editable install needs, the tables first."""
    build_schema.ensure()
    return build_meta.build_editable(*args, **options)
