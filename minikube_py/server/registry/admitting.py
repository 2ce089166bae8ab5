"""Admission around a write: all plugins change the object, and once it is checked all check it."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from time import perf_counter
from typing import NamedTuple

from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.lib.prometheus import Histogram, histograms
from minikube_py.server.attributes import Admission, AdmissionPlugin, Reinvocation
from minikube_py.server.registry.hooks import Write
from minikube_py.server.registry.valid_owners import with_valid_owners

SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)


class _Timing:
    """Takes the time of a step; the parts of the key are labels."""

    __slots__ = ("_began", "_histogram")

    def __init__(self, histogram: tuple[Histogram, Histogram]) -> None:
        self._histogram = histogram

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, kind: object, _error: object, _traceback: object) -> None:
        self._histogram[kind is not None].observe(perf_counter() - self._began)


class _Asked(NamedTuple):
    """What plugins are asked about writes of one kind."""

    admit: tuple[Callable[[Admission], Awaitable[Obj | None]], ...]
    validate: tuple[Callable[[Admission], Awaitable[Sequence[str]]], ...]


class Admitting:
    """The chain of plugins, as the store runs it; what the server itself changes is exempt."""

    def __init__(self, plugins: Sequence[AdmissionPlugin]) -> None:
        self._plugins = tuple(plugins)
        self._seconds: dict[tuple[str, str], tuple[Histogram, Histogram]] = {}
        """By operation and step: of what went through, and of what was refused."""
        self._about: dict[tuple[str, str], _Asked] = {}

    def _asked(self, resource: Resource) -> _Asked:
        """Return what the plugins say that have to do with a kind."""
        name = (resource.group, resource.plural)
        asked = self._about.get(name)
        if asked is None:
            about = [one for one in self._plugins if _is_about(one, resource.group_resource)]
            base = AdmissionPlugin
            asked = self._about[name] = _Asked(
                tuple(one.admit for one in about if type(one).admit is not base.admit),
                tuple(one.validate for one in about if type(one).validate is not base.validate),
            )
        return asked

    async def admit(self, write: Write, obj: Obj, old: Obj | None) -> Obj:
        """Let the plugins change the object; who owns its fields stays readable."""
        if write.trusted:
            return obj
        view = write.view
        if view is None:
            admitted = await self._admit(write, obj, old) or obj
        else:
            shown = view.of(obj)
            changed = await self._admit(write, shown, None if old is None else view.of(old))
            admitted = obj if changed is None or changed == shown else view.into(changed, obj)
        return with_valid_owners(write, admitted, obj)

    async def admit_delete(self, write: Write, old: Obj) -> None:
        """Let the plugins see what is to be deleted."""
        if not write.trusted:
            await self._admit(write, None, old)

    async def validate(self, write: Write, obj: Obj | None, old: Obj | None) -> None:
        """Let the plugins check the final object; None is a deletion."""
        if write.trusted:
            return
        if write.view is not None:
            obj, old = (None if one is None else write.view.of(one) for one in (obj, old))
        admission = _admission(write, obj, old)
        with self._timing(write, "validate"):
            for validate in self._asked(write.resource).validate:
                write.warnings.extend(await validate(admission))

    async def _admit(self, write: Write, obj: Obj | None, old: Obj | None) -> Obj | None:
        """Let all plugins change the object; a second time where one of them wants that."""
        reinvocation = Reinvocation()
        with self._timing(write, "admit"):
            obj = await self._admit_once(write, obj, old, reinvocation)
            if reinvocation.wanted:
                reinvocation.again = True
                obj = await self._admit_once(write, obj, old, reinvocation)
        return obj

    def _timing(self, write: Write, step: str) -> _Timing:
        found = self._seconds.get((write.operation, step))
        if found is None:
            found = self._seconds[write.operation, step] = (Histogram(SECONDS), Histogram(SECONDS))
        return _Timing(found)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the metrics page."""
        yield from histograms(
            "apiserver_admission_step_admission_duration_seconds",
            "[STABLE] Admission sub-step latency histogram in seconds, broken out for each "
            "operation and API resource and step type (validate or admit).",
            (
                ({"operation": operation, "rejected": rejected, "type": step}, histogram)
                for (operation, step), pair in sorted(self._seconds.items())
                for rejected, histogram in zip(("false", "true"), pair, strict=True)
                if histogram.count
            ),
        )

    async def _admit_once(
        self, write: Write, obj: Obj | None, old: Obj | None, reinvocation: Reinvocation
    ) -> Obj | None:
        admission = _admission(write, obj, old)
        admission.reinvocation = reinvocation
        for admit in self._asked(write.resource).admit:
            changed = await admit(admission)
            if changed is not None:
                admission.obj = changed
        return admission.obj


def _is_about(plugin: AdmissionPlugin, group_resource: str) -> bool:
    about = plugin.resources
    return about is None or any(one.group_resource == group_resource for one in about)


def _admission(write: Write, obj: Obj | None, old: Obj | None) -> Admission:
    return Admission(
        user=write.user,
        operation=write.operation,
        resource=write.resource,
        subresource=write.subresource,
        namespace=write.namespace,
        name="" if write.of_collection else write.name,
        obj=obj,
        old=old,
        options=write.options,
        dry_run=write.dry_run,
        warnings=write.warnings,
        annotations=write.annotations,
    )
