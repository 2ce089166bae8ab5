"""Levels and versions of policy, and how the labels of a namespace choose them."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from minikube_py.api.fields import Field, FieldError

LEVELS: Final = ("privileged", "baseline", "restricted")
"""From the one that allows everything to the strictest."""
LATEST: Final = -1
"""In place of a minor version: whatever is the newest."""
PREFIX: Final = "pod-security.kubernetes.io/"
MODES: Final = ("enforce", "audit", "warn")
_VERSION: Final = re.compile(r"v1\.(0|[1-9][0-9]*)")
_MINOR_MAX: Final = 10**9
_BAD_LEVEL: Final = f"must be one of {', '.join(LEVELS)}"
_BAD_VERSION: Final = 'must be "latest" or "v1.x"'


class LevelVersion(NamedTuple):
    """A level as it was in a minor version of Kubernetes."""

    level: str = "privileged"
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"

    @property
    def strictness(self) -> int:
        """How strict the level is beside others."""
        return LEVELS.index(self.level)

    def is_equivalent(self, other: "LevelVersion") -> bool:
        """Tell whether both mean the same; of privileged the version means nothing."""
        return self == other or self.level == other.level == "privileged"


class Policy(NamedTuple):
    """What is refused, what is noted for the audit and what the writer is warned of."""

    enforce: LevelVersion = LevelVersion()
    audit: LevelVersion = LevelVersion()
    warn: LevelVersion = LevelVersion()

    @property
    def is_privileged(self) -> bool:
        """Whether nothing is looked at."""
        return all(mode.level == "privileged" for mode in self)

    def is_equivalent(self, other: "Policy") -> bool:
        """Tell whether both mean the same."""
        return all(a.is_equivalent(b) for a, b in zip(self, other, strict=True))


PRIVILEGED: Final = Policy()


def level_of(text: str) -> str | None:
    """Return the level, None where there is no such level."""
    return text if text in LEVELS else None


def minor_of(text: str) -> int | None:
    """Return the minor version of `latest` or `v1.x`, None for other texts."""
    if text == "latest":
        return LATEST
    match = _VERSION.fullmatch(text)
    if match is None or len(match[1]) > len(str(_MINOR_MAX)):
        return None
    return int(match[1])


def policy_of(labels: Mapping[str, str], defaults: Policy) -> tuple[Policy, list[FieldError]]:
    """Return the policy that labels choose, and what is wrong with them.

    Enforcement fails closed, the other two fail open. Who is held to more than the default is
    warned of as much, unless the labels say else (upstream's `PolicyToEvaluate`).
    """
    errors: list[FieldError] = []
    chosen = {
        mode: _mode(mode, labels, default, errors)
        for mode, default in zip(MODES, defaults, strict=True)
    }
    enforce, warn = chosen["enforce"], chosen["warn"]
    named = level_of(labels.get(f"{PREFIX}enforce", "")) is not None
    if named and f"{PREFIX}warn" not in labels and enforce.strictness > warn.strictness:
        pinned = f"{PREFIX}warn-version" in labels
        chosen["warn"] = LevelVersion(enforce.level, warn.minor if pinned else enforce.minor)
    return Policy(**chosen), errors


def _mode(
    mode: str, labels: Mapping[str, str], default: LevelVersion, errors: list[FieldError]
) -> LevelVersion:
    level, minor = default
    key = f"{PREFIX}{mode}"
    if key in labels:
        found = level_of(labels[key])
        level = found or ("restricted" if mode == "enforce" else "privileged")
        if found is None:
            errors.append(_label(key).invalid(labels[key], _BAD_LEVEL))
    key = f"{PREFIX}{mode}-version"
    if key in labels:
        number = minor_of(labels[key])
        minor = LATEST if number is None else number
        if number is None:
            errors.append(_label(key).invalid(labels[key], _BAD_VERSION))
    return LevelVersion(level, minor)


def _label(key: str) -> Field:
    return Field("metadata.labels")[key]
