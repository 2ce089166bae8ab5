"""One profile of a KubeSchedulerConfiguration: which plugins work at which point.

`multiPoint` names plugins for all points that they have; what is said of a single point goes before
that. The defaults are named at multiPoint, so that a profile says only how it differs. The order at
a point is upstream's: plugins named there that multiPoint names as well, the rest of multiPoint,
then the others that are named there.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from minikube_py.server.scheduler.framework import Factory, Handle, Plugin
from minikube_py.server.scheduler.plugins import DEFAULT
from minikube_py.server.scheduler.profile import POINTS, Enabled, Profile, compose, has_point

EVERY = "*"
MULTI = "multiPoint"
KNOWN = ("schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig")
PERCENT_MAX = 100


class Named(NamedTuple):
    """A plugin by name, with the weight of its scores."""

    name: str
    weight: int = 0


Make = Callable[[Named], Plugin]


def profile_of(
    given: Obj,
    handle: Handle,
    factories: Mapping[str, Factory],
    percentage: int,
    ignored: Sequence[str] = (),
) -> Profile:
    """Make a profile; `ignored` are resources that extenders look after.

    Raises:
        ValueError: a plugin is not known, does not work at a point, or dislikes its arguments.

    """
    name = given["schedulerName"]
    sets: Mapping[str, Obj] = given.get("plugins") or {}
    multi = merged([Named(*one) for one in DEFAULT], sets.get(MULTI) or {})
    args = {one["name"]: one.get("args") or {} for one in given.get("pluginConfig") or ()}
    if ignored:
        fit = args.get("NodeResourcesFit", {})
        more = [*(fit.get("ignoredResources") or ()), *ignored]
        args["NodeResourcesFit"] = {**fit, "ignoredResources": more}
    made: dict[str, Plugin] = {}

    def plugin(one: Named) -> Plugin:
        if one.name not in made:
            made[one.name] = _made(one.name, name, handle, factories, args)
        return made[one.name]

    points = {point: _at(point, multi, sets.get(point) or {}, plugin) for point in POINTS}
    unused = sorted(args.keys() - made.keys() - {"NodeResourcesFit"})
    if unused:
        raise ValueError(f"profile {name!r}: pluginConfig for unknown plugin {unused[0]!r}")
    share = given.get("percentageOfNodesToScore")
    return compose(points, name=name, percentage=percentage if share is None else int(share))


def _made(
    plugin: str,
    profile: str,
    handle: Handle,
    factories: Mapping[str, Factory],
    args: Mapping[str, Obj],
) -> Plugin:
    factory = factories.get(plugin)
    if factory is None:
        raise ValueError(f"profile {profile!r}: plugin {plugin!r} does not exist")
    try:
        return factory(handle, args.get(plugin, {}))
    except (ValueError, TypeError) as error:
        raise ValueError(f"profile {profile!r}: initializing plugin {plugin!r}: {error}") from error


def merged(defaults: Sequence[Named], given: Obj) -> Sequence[Named]:
    """Return a set of plugins with what is disabled taken out and what is enabled put in."""
    disabled = {one["name"] for one in given.get("disabled") or ()}
    enabled = {one.name: one for one in named(given)}
    kept = [] if EVERY in disabled else [one for one in defaults if one.name not in disabled]
    replaced = [enabled.get(one.name, one) for one in kept]
    return [*replaced, *(one for one in named(given) if one not in replaced)]


def named(given: Obj) -> Sequence[Named]:
    """Return the plugins that a set enables."""
    return [Named(one["name"], one.get("weight") or 0) for one in given.get("enabled") or ()]


def _at(point: str, multi: Sequence[Named], given: Obj, plugin: Make) -> Sequence[Enabled]:
    disabled = {one["name"] for one in given.get("disabled") or ()}
    own = named(given)
    everywhere = {one.name: one for one in multi if has_point(plugin(one), point)}
    for one in own:
        if not has_point(plugin(one), point):
            raise ValueError(f"plugin {one.name!r} does not extend {point} plugin")
    specific = {one.name for one in own}
    override = [one for one in own if one.name in everywhere]
    rest = [
        one
        for one in everywhere.values()
        if one.name not in specific and one.name not in disabled and EVERY not in disabled
    ]
    others = [one for one in own if one.name not in everywhere]
    return [(plugin(one), one.weight) for one in (*override, *rest, *others)]


def profile_errors(profiles: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    """Report what is wrong with the form of profiles."""
    names = Counter(one.get("schedulerName", "") for one in profiles)
    sorts = [(one.get("plugins") or {}).get("queueSort") or {} for one in profiles]
    for place, one in enumerate(profiles):
        at = field[place]
        for key in sorted(one.keys() - set(KNOWN)):
            yield (at / key).forbidden("unknown field")
        name = one.get("schedulerName", "")
        if not name:
            yield (at / "schedulerName").required()
        elif names[name] > 1:
            yield (at / "schedulerName").duplicate(name)
        share = one.get("percentageOfNodesToScore") or 0
        if not isinstance(share, int) or not 0 <= share <= PERCENT_MAX:
            yield (at / "percentageOfNodesToScore").invalid(share, "not in valid range [0-100]")
        if sorts[place] != sorts[0]:
            yield (at / "plugins" / "queueSort").invalid(
                sorts[place], "must be the same for all profiles"
            )
        yield from _plugin_errors(one.get("plugins") or {}, at / "plugins")
        yield from _config_errors(one.get("pluginConfig") or (), at / "pluginConfig")


def _plugin_errors(sets: Mapping[str, Obj], field: Field) -> Iterator[FieldError]:
    for point, given in sets.items():
        if point not in POINTS and point != MULTI:
            yield (field / point).forbidden("unknown field")
            continue
        for which in ("enabled", "disabled"):
            for place, one in enumerate((given or {}).get(which) or ()):
                if not one.get("name"):
                    yield (field / point / which)[place].required("name")
    enabled = ((sets.get("queueSort") or {}).get("enabled")) or ()
    if len(enabled) > 1:
        text = "only one queue sort plugin can be enabled"
        yield (field / "queueSort" / "Enabled").invalid(len(enabled), text)


def _config_errors(configs: Sequence[Obj], field: Field) -> Iterator[FieldError]:
    names = Counter(one.get("name", "") for one in configs)
    for place, one in enumerate(configs):
        name = one.get("name", "")
        if not name:
            yield (field[place] / "name").required()
        elif names[name] > 1:
            yield field[place].duplicate(name)
        elif not isinstance(one.get("args") or {}, dict):
            yield (field[place] / "args").invalid(one.get("args"), "has to match plugin args")
