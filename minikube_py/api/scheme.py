"""All kinds that a server serves: built-in ones from the start, custom ones come and go."""

from collections.abc import Callable, Iterable, Iterator

from minikube_py.api.resource import Resource

Watcher = Callable[[Resource, bool], None]
"""(resource, whether it is there now)."""


class Scheme:
    """Finds a resource by path, by kind or by name; a value that is passed down, never global."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._builtin_groups: set[str] = set()
        self._watchers: list[Watcher] = []
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Serve one more kind; the same group, version and plural replaces."""
        self._by_path[resource.group, resource.version, resource.plural] = resource
        self._by_kind[resource.api_version, resource.kind] = resource
        if not resource.custom:
            self._builtin_groups.add(resource.group)
        self._tell(resource, there=True)

    def remove(self, resource: Resource) -> None:
        """Serve a kind no longer."""
        self._by_path.pop((resource.group, resource.version, resource.plural), None)
        self._by_kind.pop((resource.api_version, resource.kind), None)
        self._tell(resource, there=False)

    def _tell(self, resource: Resource, *, there: bool) -> None:
        for watcher in tuple(self._watchers):
            watcher(resource, there)

    def subscribe(self, watcher: "Watcher") -> Callable[[], None]:
        """Tell of kinds that come (also in place of themselves) and go; return the way out."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def has_builtin(self, group: str) -> bool:
        """Tell whether a group has kinds of its own, not only custom ones."""
        return group in self._builtin_groups

    def by_path(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource that a REST path names, or None."""
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource of an object's apiVersion and kind, or None."""
        return self._by_kind.get((api_version, kind))

    def by_group_plural(self, group: str, plural: str) -> Resource | None:
        """Return the resource in the first version that was added, or None."""
        return next((r for r in self if r.group == group and r.plural == plural), None)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._by_path.values()))
