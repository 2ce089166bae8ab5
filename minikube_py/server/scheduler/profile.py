"""A profile is one scheduler: a name that pods ask for, and for each point the plugins in order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from minikube_py.server.scheduler.framework import (
    Bind,
    Filter,
    Permit,
    Plugin,
    PostBind,
    PostFilter,
    PreBind,
    PreEnqueue,
    PreFilter,
    PreScore,
    QueueSort,
    Reserve,
    Score,
)

DEFAULT_NAME = "default-scheduler"
POINTS = {
    "queueSort": "sort_key",
    "preEnqueue": "pre_enqueue",
    "preFilter": "pre_filter",
    "filter": "filter",
    "postFilter": "post_filter",
    "preScore": "pre_score",
    "score": "score",
    "reserve": "reserve",
    "permit": "permit",
    "preBind": "pre_bind",
    "bind": "bind",
    "postBind": "post_bind",
}
"""Extension points as KubeSchedulerConfiguration names them, and the method of each."""


@dataclass(frozen=True)
class Profile:
    """The plugins of one scheduler, those of each point in the order in which they are asked."""

    name: str
    """The `schedulerName` of its pods."""
    queue_sort: QueueSort
    pre_enqueue: tuple[PreEnqueue, ...]
    pre_filter: tuple[PreFilter, ...]
    filter: tuple[Filter, ...]
    post_filter: tuple[PostFilter, ...]
    pre_score: tuple[PreScore, ...]
    score: tuple[tuple[Score, int], ...]
    """With how much each counts against the others."""
    reserve: tuple[Reserve, ...]
    permit: tuple[Permit, ...]
    pre_bind: tuple[PreBind, ...]
    bind: tuple[Bind, ...]
    post_bind: tuple[PostBind, ...]
    plugins: tuple[Plugin, ...]
    """All of them, each once."""
    percentage: int = 0
    """Of the nodes this share is looked at until so many fit; 0: by the size of the cluster."""


Enabled = tuple[Plugin, int]
"""A plugin and the weight of its scores; 0 is taken as 1."""


def compose(
    points: dict[str, Sequence[Enabled]], *, name: str = DEFAULT_NAME, percentage: int = 0
) -> Profile:
    """Make a profile of the plugins of each point, by the points' names in POINTS.

    Raises:
        ValueError: there is not exactly one queue sort plugin, or no bind plugin.

    """
    at = {point: tuple(one for one, _ in points.get(point, ())) for point in POINTS}
    if len(at["queueSort"]) != 1:
        raise ValueError(f"one queue sort plugin required for profile with scheduler name {name!r}")
    if not at["bind"]:
        raise ValueError(f"at least one bind plugin is needed for profile with name {name!r}")
    every = {plugin.name: plugin for plugins in at.values() for plugin in plugins}
    scores = tuple((cast("Score", one), weight or 1) for one, weight in points.get("score", ()))
    return Profile(
        name=name,
        queue_sort=cast("QueueSort", at["queueSort"][0]),
        pre_enqueue=cast("tuple[PreEnqueue, ...]", at["preEnqueue"]),
        pre_filter=cast("tuple[PreFilter, ...]", at["preFilter"]),
        filter=cast("tuple[Filter, ...]", at["filter"]),
        post_filter=cast("tuple[PostFilter, ...]", at["postFilter"]),
        pre_score=cast("tuple[PreScore, ...]", at["preScore"]),
        score=scores,
        reserve=cast("tuple[Reserve, ...]", at["reserve"]),
        permit=cast("tuple[Permit, ...]", at["permit"]),
        pre_bind=cast("tuple[PreBind, ...]", at["preBind"]),
        bind=cast("tuple[Bind, ...]", at["bind"]),
        post_bind=cast("tuple[PostBind, ...]", at["postBind"]),
        plugins=tuple(every.values()),
        percentage=percentage,
    )


def everywhere(plugins: Iterable[Enabled]) -> dict[str, Sequence[Enabled]]:
    """Return for each point the plugins that have its method (upstream's multiPoint)."""
    listed = tuple(plugins)
    return {point: tuple(one for one in listed if has_point(one[0], point)) for point in POINTS}


def has_point(plugin: Any, point: str) -> bool:
    """Tell whether a plugin works at an extension point."""
    return hasattr(plugin, POINTS[point])
