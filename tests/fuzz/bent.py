"""Valid objects, bent in one or a few places: what a hasty user or a broken client sends.

The objects are those of the recorded facts of v1.36, one or two of each kind. A value is replaced
by an odd one, taken away, doubled, or put where another one was.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from tests.fuzz.operations import ACCEPTS, JSON, ODD_NUMBERS, ODD_TEXTS, PATCHES, Request, encoded

FACTS = Path(__file__).parents[3] / "shared" / "reference" / "facts" / "defaults.json"
NAMED_BY_CONTENT = ("customresourcedefinitions", "apiservices")
CALLING = ("apiservices", "mutatingwebhookconfigurations", "validatingwebhookconfigurations")
"""Kinds that would make the server call somebody: they are written in dry runs only."""
Place = tuple[str | int, ...]
NAMES = 12
"""Objects of each kind that requests are about: few, so that most are there."""
ODD: tuple[Any, ...] = (
    *ODD_TEXTS,
    *ODD_NUMBERS,
    *(None, True, False, [], {}, [None], [[]], [{}], [{}, {}], [""], [1], ["a", "a"]),
    *({"": None}, {"a": None}, {"a": "b"}, {"a": {"a": {}}}, {"name": "a"}),
    *([{"name": "a"}, {"name": "a"}], {"matchLabels": {"a": "b"}}),
    *({"matchExpressions": [{"key": "a", "operator": "In"}]}, "Always", "Never"),
)
DIRECTIVES: tuple[Any, ...] = (
    *({"$patch": "delete"}, {"$patch": "replace"}, [{"$patch": "replace"}], {"$patch": 1}),
    *({"$retainKeys": ["a"]}, {"$retainKeys": 1}, {"$setElementOrder/containers": [{"name": "a"}]}),
    *({"$deleteFromPrimitiveList/finalizers": ["a"]}, {"$setElementOrder/x": 1}),
)


def objects() -> list[dict[str, Any]]:
    """Return a valid object or two of each kind."""
    facts = json.loads(FACTS.read_text())
    found = [fact.get("input") for fact in facts.values() if isinstance(fact, Mapping)]
    return [obj for obj in found if isinstance(obj, dict) and "kind" in obj]


def places(value: Any, above: Place = ()) -> Iterator[Place]:
    """Yield where there are values, the whole not counted."""
    if above:
        yield above
    inner = value.items() if isinstance(value, Mapping) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, below in inner:
        yield from places(below, (*above, key))


def changed(value: Any, place: Place, change: Callable[[Any], Any]) -> Any:
    """Return a value with another one in its place."""
    if not place:
        return change(value)
    copy = dict(value) if isinstance(value, Mapping) else list(value)
    copy[place[0]] = changed(copy[place[0]], place[1:], change)
    return copy


def _without(key: Any) -> Callable[[Any], Any]:
    def remove(parent: Any) -> Any:
        copy = dict(parent) if isinstance(parent, Mapping) else list(parent)
        del copy[key]
        return copy

    return remove


@dataclass
class Bender:
    """Draws requests about a scheme's kinds."""

    scheme: Scheme
    random: Random
    _pretends: bool = False

    def __post_init__(self) -> None:
        kinds = {(resource.api_version, resource.kind): resource for resource in self.scheme}
        self._objects = [
            (obj, kinds[key])
            for obj in objects()
            if (key := (obj["apiVersion"], obj["kind"])) in kinds
        ]

    def bent(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Return an object with one to three mistakes."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            where = [p for p in places(obj) if p not in (("apiVersion",), ("metadata", "name"))]
            if where:
                obj = self._bend(obj, self.random.choice(where), where)
        return obj

    def _bend(self, obj: Any, place: Place, where: Sequence[Place]) -> Any:
        turn = self.random.random()
        if turn < 0.2:
            return changed(obj, place[:-1], _without(place[-1]))
        if turn < 0.3:
            return changed(obj, place, lambda old: [old] if isinstance(old, Mapping) else old)
        if turn < 0.4:
            other = obj
            for key in self.random.choice(where):
                other = other[key]
            return changed(obj, place, lambda _old: other)
        odd = self.random.choice(ODD)
        return changed(obj, place, lambda _old: odd)

    def request(self) -> Request:
        """Return one request: a write of a bent object, or a patch that bends one."""
        obj, resource = self.random.choice(self._objects)
        self._pretends = resource.plural in CALLING
        if resource.plural not in NAMED_BY_CONTENT:
            name = f"fuzz{self.random.randrange(NAMES)}"
            metadata = {**obj.get("metadata", {}), "name": name}
            metadata.pop("namespace", None)
            obj = {**obj, "metadata": metadata}
        collection = resource.path("default" if resource.namespaced else "", "")
        path = f"{collection}/{obj['metadata']['name']}"
        body = self.bent(obj) if self.random.random() < 0.9 else obj
        match self.random.choice(("POST", "POST", "PUT", "sub", "PATCH", "PATCH", "DELETE")):
            case "POST":
                return self._send("POST", collection, JSON, body)
            case "PUT":
                return self._send("PUT", path, JSON, body)
            case "DELETE":
                return self._send("DELETE", path, JSON, None)
            case "sub":
                method = self.random.choice(("PUT", "POST"))
                return self._send(method, f"{path}/{self._subresource(resource)}", JSON, body)
            case _:
                return self._patch(path, obj, body)

    def _subresource(self, resource: Resource) -> str:
        found = [sub.name for sub in resource.subresources] or ["status"]
        kept = [name for name in found if name not in ("proxy", "exec", "attach", "portforward")]
        return self.random.choice(kept or ["status"])

    def _patch(self, path: str, obj: Any, body: Any) -> Request:
        kind = self.random.choice(PATCHES[:4])
        if "json-patch" in kind:
            return self._send("PATCH", path, kind, self._operations(obj))
        if "apply" in kind:
            force = self.random.choice(("true", "false"))
            return self._send("PATCH", f"{path}?fieldManager=me&force={force}", kind, body)
        if self.random.random() < 0.3:
            directive = self.random.choice(DIRECTIVES)
            body = changed(obj, self.random.choice(list(places(obj))), lambda _old: directive)
        return self._send("PATCH", path, kind, body)

    def _operations(self, obj: Any) -> list[dict[str, Any]]:
        where = list(places(obj))

        def pointer() -> str:
            parts = self.random.choice(where)
            return "/" + "/".join(str(p).replace("~", "~0").replace("/", "~1") for p in parts)

        names = ("add", "remove", "replace", "move", "copy", "test")
        return [
            {
                "op": self.random.choice(names),
                "path": pointer(),
                "from": pointer(),
                "value": self.random.choice(ODD),
            }
            for _ in range(self.random.choice((1, 1, 2, 3)))
        ]

    def _send(self, method: str, target: str, content_type: str, body: Any) -> Request:
        mark = "&" if "?" in target else "?"
        if self.random.random() < 0.2:
            target += f"{mark}fieldValidation={self.random.choice(('Strict', 'Warn', 'Ignore'))}"
            mark = "&"
        if self._pretends or self.random.random() < 0.1:
            target += f"{mark}dryRun=All"
        accept = self.random.choice(ACCEPTS[:6])
        data = b"" if body is None else encoded(body)
        return Request(method, target, content_type, accept, data)
