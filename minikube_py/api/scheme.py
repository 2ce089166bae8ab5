"""All kinds that a server serves: built-in ones from the start, custom ones come and go."""

from collections.abc import Iterable, Iterator

from minikube_py.api.resource import Resource


class Scheme:
    """Finds a resource by path, by kind or by name; a value that is passed down, never global."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self._by_kind: dict[tuple[str, str], Resource] = {}
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Serve one more kind; the same group, version and plural replaces."""
        self._by_path[resource.group, resource.version, resource.plural] = resource
        self._by_kind[resource.api_version, resource.kind] = resource

    def remove(self, resource: Resource) -> None:
        """Serve a kind no longer."""
        self._by_path.pop((resource.group, resource.version, resource.plural), None)
        self._by_kind.pop((resource.api_version, resource.kind), None)

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
