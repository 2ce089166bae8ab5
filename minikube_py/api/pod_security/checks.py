"""What all controls share: their shape, and how they name containers in what they report."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from minikube_py.api.core.pod_resources import visit_containers
from minikube_py.api.object import Obj, get


class Violation(NamedTuple):
    """Why a pod is not allowed: what it is about, and where exactly."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


CheckPod = Callable[[Obj, Obj], Violation | None]
"""(metadata, spec) -> what is wrong with a pod, None where nothing is."""


@dataclass(frozen=True)
class Revision:
    """What a control means from a minor version on, until its next revision."""

    since: int
    check: CheckPod
    overrides: str = ""
    """The baseline control that this one makes superfluous; "" for none."""


@dataclass(frozen=True)
class Control:
    """One control of the standards."""

    id: str
    """Upstream's name of it; violations are listed in the order of these."""
    level: Literal["baseline", "restricted"]
    revisions: tuple[Revision, ...]
    """Rising by version."""


def containers(spec: Obj) -> Iterator[Obj]:
    """Yield init containers, containers and ephemeral ones."""
    return (container for _, _, container in visit_containers(spec))


def context(owner: Obj) -> Obj:
    """Return the securityContext of a pod's spec or a container, empty without one."""
    found: Obj = get(owner, "securityContext", {})
    return found


def plural(noun: str, things: Sequence[Any] | set[Any]) -> str:
    """Return the noun, with an s for more than one thing."""
    return noun if len(things) == 1 else f"{noun}s"


def quoted(texts: Iterable[str]) -> str:
    """Return `"a", "b"`; nothing is escaped, as upstream does it."""
    return ", ".join(f'"{text}"' for text in texts)


def named(noun: str, names: Sequence[str]) -> str:
    """Return `container "a"` or `containers "a", "b"`."""
    return f"{plural(noun, names)} {quoted(names)}"


def setters(*, pod: bool, bad: Sequence[str]) -> str:
    """Return who set something: `pod and containers "a", "b"`; "" for nobody."""
    parts = ["pod"] if pod else []
    if bad:
        parts.append(named("container", bad))
    return " and ".join(parts)


def names_where(spec: Obj, is_bad: Callable[[Obj], bool]) -> list[str]:
    """Return the names of the containers that something holds for."""
    return [container["name"] for container in containers(spec) if is_bad(container)]
