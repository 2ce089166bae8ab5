"""Secrets without their values, so that one still sees which keys changed.

Equal values become equal marks within one answer, and different ones different marks; a mark says
nothing else, not even how long the value is.
"""

from typing import Any

from minikube_py.api.object import Obj

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl leaves here all that was applied, values included."""


class Mask:
    """Hides the values of all versions of one secret."""

    def __init__(self) -> None:
        self._marks: dict[Any, str] = {}

    def hide(self, secret: Obj) -> Obj:
        """Return a secret with marks in the place of its values."""
        shown = {**secret}
        for field in ("data", "stringData"):
            if isinstance(secret.get(field), dict):
                shown[field] = {key: self._mark(value) for key, value in secret[field].items()}
        annotations = secret["metadata"].get("annotations") or {}
        if LAST_APPLIED in annotations:
            hidden = {**annotations, LAST_APPLIED: self._mark(annotations[LAST_APPLIED])}
            shown["metadata"] = {**secret["metadata"], "annotations": hidden}
        return shown

    def _mark(self, value: Any) -> str:
        return self._marks.setdefault(value, f"(hidden value {len(self._marks) + 1})")
