"""Kubernetes' `find` and `findAll`."""

from typing import Final

from minikube_py.api.cel import cost, patterns
from minikube_py.api.cel.functions import member
from minikube_py.api.cel.types import INT, STRING, list_of


def _find(text: str, pattern: str) -> str:
    return next((text[start:end] for start, end in patterns.spans(pattern, text, 1)), "")


def _find_all(text: str, pattern: str, count: int = -1) -> list[str]:
    return [text[start:end] for start, end in patterns.spans(pattern, text, count)]


OVERLOADS: Final = (
    member("find", (STRING, STRING), STRING, _find, cost.pattern),
    member("findAll", (STRING, STRING), list_of(STRING), _find_all, cost.pattern),
    member("findAll", (STRING, STRING, INT), list_of(STRING), _find_all, cost.pattern),
)
