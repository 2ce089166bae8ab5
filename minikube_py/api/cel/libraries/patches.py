"""Kubernetes' `jsonpatch.escapeKey(text)`: a key as it stands in a path of a JSON patch."""

from typing import Final

from minikube_py.api.cel import cost
from minikube_py.api.cel.functions import Overload
from minikube_py.api.cel.types import STRING


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


OVERLOADS: Final = (Overload("jsonpatch.escapeKey", (STRING,), STRING, _escape, cost=cost.first),)
