"""A KubeSchedulerConfiguration: profiles with their plugins and arguments, extenders, back-off.

The file is upstream's (kubescheduler.config.k8s.io/v1). What says how upstream's process runs
(leader election, client connection, parallelism) is taken and means nothing here. Plugins and whole
profiles that Python packages bring are found by entry points of the group `kpy.scheduler`: the
value of one is either a factory, `(handle, args) -> plugin`, and its name the plugin's, or a
mapping: a profile as it stands in the file.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from minikube_py.api import yaml
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.errors import StartError
from minikube_py.server.scheduler.extender import ExtenderConfig
from minikube_py.server.scheduler.extender_config import extender_errors, extenders_of
from minikube_py.server.scheduler.framework import Factory, Handle
from minikube_py.server.scheduler.plugins import FACTORIES
from minikube_py.server.scheduler.profile import DEFAULT_NAME, Profile
from minikube_py.server.scheduler.profile_config import profile_errors, profile_of
from minikube_py.server.scheduler.queue import BACKOFF

GROUP = "kpy.scheduler"
API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
PERCENT_MAX = 100
IGNORED = (
    "parallelism",
    "leaderElection",
    "clientConnection",
    "enableProfiling",
    "enableContentionProfiling",
    "delayCacheUntilActive",
)
"""Fields that say how upstream's process runs."""
KNOWN = (
    "apiVersion",
    "kind",
    "percentageOfNodesToScore",
    "podInitialBackoffSeconds",
    "podMaxBackoffSeconds",
    "profiles",
    "extenders",
    *IGNORED,
)


@dataclass(frozen=True)
class Configuration:
    """What a scheduler is told."""

    profiles: Sequence[Obj] = ({"schedulerName": DEFAULT_NAME},)
    """As they stand in the file."""
    factories: Mapping[str, Factory] = field(default_factory=lambda: FACTORIES)
    """All plugins there are, by name."""
    percentage: int = 0
    backoff: Backoff = BACKOFF
    extenders: Sequence[ExtenderConfig] = ()

    def build(self, handle: Handle) -> Sequence[Profile]:
        """Make the profiles.

        Raises:
            ValueError: a plugin is not known, or its arguments make no sense.

        """
        ignored = [name for one in self.extenders for name in one.unchecked]
        return [
            profile_of(one, handle, self.factories, self.percentage, ignored)
            for one in self.profiles
        ]


Entries = Callable[[], Iterator[tuple[str, Any]]]


def entries() -> Iterator[tuple[str, Any]]:
    """Yield what packages bring, by name.

    Raises:
        StartError: something of it cannot be imported.

    """
    for entry in metadata.entry_points(group=GROUP):
        try:
            yield entry.name, entry.load()
        except (ImportError, AttributeError) as error:
            raise StartError(f"cannot load scheduler plugin {entry.name!r}: {error}") from error


def load(path: str = "", found: Entries = entries) -> Configuration:
    """Read a configuration file, "" for the defaults, and add what packages bring.

    Raises:
        StartError: the file cannot be read or is not what it must be; all that is wrong is told.

    """
    brought = dict(found())
    factories = {name: value for name, value in brought.items() if callable(value)}
    given = [dict(value) for value in brought.values() if isinstance(value, Mapping)]
    twice = sorted(factories.keys() & FACTORIES.keys())
    if twice:
        raise StartError(f"scheduler plugin {twice[0]!r} of a package has the name of one of ours")
    document = _document(Path(path)) if path else {}
    profiles = [dict(one) for one in document.get("profiles") or ({"schedulerName": DEFAULT_NAME},)]
    if len(profiles) == 1:
        profiles[0].setdefault("schedulerName", DEFAULT_NAME)
    names = {one.get("schedulerName") for one in profiles}
    profiles += [one for one in given if one.get("schedulerName") not in names]
    made = _configuration({**document, "profiles": profiles}, {**FACTORIES, **factories}, path)
    _check(made, path)
    return made


def _document(file: Path) -> Obj:
    from yaml import YAMLError  # noqa: PLC0415 -- most servers have no such file

    try:
        document = yaml.load(file.read_bytes())
    except OSError as error:
        raise StartError(f"cannot read scheduler configuration {file}: {error}") from error
    except YAMLError as error:
        raise StartError(f"scheduler configuration {file} is not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise StartError(f"scheduler configuration {file} is not an object")
    found = document.get("apiVersion"), document.get("kind")
    if found != (API_VERSION, KIND):
        raise StartError(
            f"scheduler configuration {file} is {found[0]} {found[1]}, not {API_VERSION} {KIND}"
        )
    return document


def _configuration(document: Obj, factories: Mapping[str, Factory], path: str) -> Configuration:
    errors = [str(error) for error in _errors(document)]
    if errors:
        raise StartError(f"scheduler configuration {path}: {'; '.join(errors)}")
    return Configuration(
        profiles=document["profiles"],
        factories=factories,
        percentage=int(document.get("percentageOfNodesToScore") or 0),
        backoff=_backoff(document),
        extenders=extenders_of(document.get("extenders") or (), path),
    )


def _backoff(document: Obj) -> Backoff:
    first = document.get("podInitialBackoffSeconds", BACKOFF.first_seconds)
    last = document.get("podMaxBackoffSeconds", max(BACKOFF.max_seconds, first))
    return Backoff(first_seconds=float(first), max_seconds=float(last))


def _errors(document: Obj) -> Iterator[FieldError]:
    root = Field()
    for name in sorted(document.keys() - set(KNOWN)):
        yield (root / name).forbidden("unknown field")
    percentage = document.get("percentageOfNodesToScore") or 0
    if not isinstance(percentage, int) or not 0 <= percentage <= PERCENT_MAX:
        yield (root / "percentageOfNodesToScore").invalid(percentage, "not in valid range [0-100]")
    first = document.get("podInitialBackoffSeconds", 1)
    last = document.get("podMaxBackoffSeconds", max(10, first if isinstance(first, int) else 0))
    if not isinstance(first, int) or first <= 0:
        yield (root / "podInitialBackoffSeconds").invalid(first, "must be greater than 0")
    elif not isinstance(last, int) or last < first:
        text = "must be greater than or equal to PodInitialBackoffSeconds"
        yield (root / "podMaxBackoffSeconds").invalid(last, text)
    yield from profile_errors(document["profiles"], root / "profiles")
    yield from extender_errors(document.get("extenders") or (), root / "extenders")


def _check(made: Configuration, path: str) -> None:
    """Make the profiles once in front of an empty cluster, so that what is wrong is told now."""
    from minikube_py.server.scheduler.rehearsal import rehearsal  # noqa: PLC0415 -- only here

    try:
        made.build(rehearsal())
    except ValueError as error:
        where = f"scheduler configuration {path}" if path else "scheduler plugins of packages"
        raise StartError(f"{where}: {error}") from error
