"""A CustomResourceDefinition makes the same `Resource` values as the built-in kinds' files.

One value for each served version. Objects are stored in the definition's storage version; what the
datastore holds of other versions, or without later defaults, is brought to it when it is read.
Another version is the same object under another apiVersion (conversion strategy None), pruned by
its own schema; or a webhook makes it, and then objects are held as they were written.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from minikube_py.api import jsonpath, names, schema, strategy
from minikube_py.api.apiextensions import defaulting, pruning, values
from minikube_py.api.apiextensions.rules import Checker
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.metadata import validate_finalizer_name
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import (
    AGE,
    NAME,
    Age,
    Cells,
    Column,
    Convert,
    Resource,
    StorageForm,
    Subresource,
)
from minikube_py.api.schema import Type
from minikube_py.api.schema_report import DecodeError

VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
"""In the order in which upstream lists them for custom kinds."""
_HEAD: Obj = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"$ref": pruning.OBJECT_META},
}
_EMPTY: Obj = {}


def resources(crd: Obj, convert: Convert | None = None) -> tuple[Resource, ...]:
    """Return the resources of all served versions, the storage version first.

    `convert` asks the webhook of a definition that has one. Without it only the storage version of
    such a definition is there.
    """
    versions: Sequence[Obj] = crd["spec"]["versions"]
    stored_version = next(version for version in versions if version.get("storage"))
    roots = {version["name"]: root_of(version) for version in versions}
    if has_webhook(crd):
        on_read = functools.partial(_fitted, roots)
        pruned = functools.partial(_pruning, roots, convert) if convert is not None else None
    else:
        wanted = f"{crd['spec']['group']}/{stored_version['name']}"
        on_read, pruned = functools.partial(_read, roots, wanted), None
    stored = _resource(crd, stored_version, on_read=on_read, convert=pruned)
    found = [stored]
    if pruned is not None or not has_webhook(crd):
        for version in versions:
            if version is not stored_version and version.get("served"):
                form = StorageForm(
                    stored,
                    to_storage=functools.partial(_converted, stored.api_version, roots),
                    from_storage=functools.partial(
                        _converted, f"{stored.group}/{version['name']}", roots
                    ),
                )
                found.append(_resource(crd, version, storage=form, convert=pruned))
    return tuple(found)


def has_webhook(crd: Obj) -> bool:
    """Tell whether a webhook converts the objects of a definition."""
    return bool(get(crd, "spec.conversion.strategy") == "Webhook")


def root_of(version: Obj) -> Obj:
    """Return the schema of a version."""
    root = get(version, "schema.openAPIV3Schema")
    if root is None:
        return {"type": "object", pruning.PRESERVE: True}
    return dict(root)


def _resource(
    crd: Obj,
    version: Obj,
    *,
    on_read: Callable[[Obj], Obj] | None = None,
    storage: StorageForm | None = None,
    convert: Convert | None = None,
) -> Resource:
    spec, accepted, root = crd["spec"], get(crd, "status.acceptedNames"), root_of(version)
    group, name, kind = spec["group"], version["name"], accepted["kind"]
    types = {f"{group}/{each['name']}": type_of(root_of(each)) for each in spec["versions"]}
    statusful = get(version, "subresources.status") is not None
    rules = _Rules(kind, root, statusful=statusful)
    columns, cells = _table(version)
    return Resource(
        group=group,
        version=name,
        kind=kind,
        plural=accepted["plural"],
        singular=accepted.get("singular", ""),
        list_name=accepted.get("listKind", ""),
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(accepted.get("shortNames") or ()),
        categories=tuple(accepted.get("categories") or ()),
        verbs=VERBS,
        subresources=tuple(_subresources(version, rules)),
        schema=definition_name(group, name, kind),
        custom_type=types[f"{group}/{name}"],
        version_types=types,
        custom_schema=root,
        prune=functools.partial(pruning.prune, root),
        on_read=on_read,
        convert=convert,
        columns=columns,
        cells=cells,
        default=functools.partial(defaulting.default, root),
        prepare_for_create=rules.prepare_for_create,
        prepare_for_update=rules.prepare_for_update,
        validate=rules.validate,
        warn=rules.warn,
        validate_name=names.dns1123_subdomain,
        selectable_fields={
            path.removeprefix("."): functools.partial(_selected, path)
            for path in (field["jsonPath"] for field in version.get("selectableFields") or ())
        },
        allow_unconditional_update=False,
        storage=storage,
        scale_paths=get(version, "subresources.scale") or _EMPTY,
        deprecation=_deprecation(version, f"{group}/{name} {kind}"),
        served=bool(version.get("served")),
        in_discovery=bool(version.get("served")),
        custom=True,
    )


def definition_name(group: str, version: str, kind: str) -> str:
    """Return the name of a custom type: `com.example.stable.v1.CronTab`."""
    return ".".join([*reversed(group.split(".")), version, kind])


def type_of(root: Obj) -> Type:
    """Return the type of a schema: what managed fields and apply go by."""
    head = dict(root)
    head["properties"] = {**(root.get("properties") or {}), **_HEAD}
    head.setdefault("type", "object")
    return Type(head, schema.type_of)


def _deprecation(version: Obj, what: str) -> str:
    if not version.get("deprecated"):
        return ""
    return version.get("deprecationWarning") or f"{what} is deprecated"


def _selected(path: str, obj: Obj) -> str:
    found = jsonpath.find(obj, path)
    if not found or found[0] is None:
        return ""
    value = found[0]
    return str(value).lower() if isinstance(value, bool) else str(value)


# --- conversion -----------------------------------------------------------------------------------


def _converted(api_version: str, roots: Mapping[str, Obj], obj: Obj) -> Obj:
    """Return the object in another version: the same, pruned by that version's schema."""
    moved = obj if obj["apiVersion"] == api_version else {**obj, "apiVersion": api_version}
    return _pruned(roots[api_version.rpartition("/")[2]], moved)


def _read(roots: Mapping[str, Obj], api_version: str, obj: Obj) -> Obj:
    """Return what the datastore holds as an object of today's storage version."""
    obj = _fitted(roots, obj)
    return _converted(api_version, roots, obj) if obj["apiVersion"] != api_version else obj


def _fitted(roots: Mapping[str, Obj], obj: Obj) -> Obj:
    """Return what the datastore holds as its own version has it today."""
    root = roots.get(obj["apiVersion"].rpartition("/")[2])
    return obj if root is None else defaulting.default(root, _pruned(root, obj))


async def _pruning(
    roots: Mapping[str, Obj], convert: Convert, objects: Sequence[Obj], api_version: str
) -> Sequence[Obj]:
    """Convert objects; what the schema of their new version does not know is left out."""
    root = roots[api_version.rpartition("/")[2]]
    made = await convert(objects, api_version)
    pairs = zip(objects, made, strict=True)
    return [obj if obj is new else _pruned(root, new) for obj, new in pairs]


def _pruned(root: Obj, obj: Obj) -> Obj:
    try:
        return pruning.prune(root, obj)[0]
    except DecodeError:
        return obj  # written before anybody checked; it is shown as it is


# --- rules ----------------------------------------------------------------------------------------


class _Rules:
    """What happens to an object of one version when it is written."""

    def __init__(self, kind: str, root: Obj, *, statusful: bool) -> None:
        self.kind = kind
        self.root = root
        self.statusful = statusful
        self.checker = Checker(root)

    def prepare_for_create(self, obj: Obj) -> Obj:
        """Drop the status where it has an endpoint of its own."""
        if self.statusful:
            obj = {key: value for key, value in obj.items() if key != "status"}
        return strategy.with_generation(obj, 1)

    def prepare_for_update(self, new: Obj, old: Obj) -> Obj:
        """Keep the status, and count changes of all but metadata and status."""
        if self.statusful:
            new = strategy.keeping(new, old, "status")
        left_out = ("metadata", "status") if self.statusful else ("metadata",)
        if _without(new, left_out) == _without(old, left_out):
            return new
        return strategy.with_generation(new, (old["metadata"].get("generation") or 0) + 1)

    def prepare_status(self, new: Obj, old: Obj) -> Obj:
        """Keep everything but the status."""
        kept = {key: value for key, value in old.items() if key != "status"}
        managed = new["metadata"].get("managedFields")
        metadata = {key: value for key, value in old["metadata"].items() if key != "managedFields"}
        if managed is not None:
            metadata["managedFields"] = managed
        kept["metadata"] = metadata
        return {**kept, "status": new["status"]} if "status" in new else kept

    def validate(self, new: Obj, old: Obj | None) -> Iterator[FieldError]:
        """Report where an object does not fit its schema."""
        before = {"old": old} if old is not None else {}
        errors = list(values.validate(self.root, new, Field(), root=True, **before))
        yield from errors or self.checker.validate(new, old)

    def validate_status(self, new: Obj, old: Obj | None) -> Iterator[FieldError]:
        """Report where a status does not fit its schema."""
        node = (self.root.get("properties") or {}).get("status")
        if node is None or "status" not in new:
            return
        before = {"old": old["status"]} if old is not None and "status" in old else {}
        found = values.validate(node, new["status"], Field("status"), root=True, **before)
        errors = list(found)
        yield from errors or self.checker.validate(new["status"], before.get("old"), ("status",))

    def warn(self, new: Obj, old: Obj | None) -> Iterator[str]:
        """Yield what is said of finalizers without a domain."""
        known = (old["metadata"].get("finalizers") or ()) if old is not None else ()
        for finalizer in new["metadata"].get("finalizers") or ():
            if finalizer not in known and any(validate_finalizer_name(finalizer, Field())):
                yield (
                    f'metadata.finalizers: "{finalizer}": prefer a domain-qualified finalizer name '
                    "to avoid accidental conflicts with other finalizer writers"
                )


def _without(obj: Obj, keys: Sequence[str]) -> Obj:
    return {key: value for key, value in obj.items() if key not in keys}


def _subresources(version: Obj, rules: _Rules) -> Iterator[Subresource]:
    if rules.statusful:
        yield Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=rules.prepare_status,
            validate=rules.validate_status,
        )
    if get(version, "subresources.scale") is not None:
        yield Subresource(name="scale", kind="Scale", group="autoscaling", version="v1")


# --- tables ---------------------------------------------------------------------------------------


def _table(version: Obj) -> tuple[tuple[Column, ...], Cells | None]:
    """Return columns and cells; without columns of its own a kind shows name and age."""
    given: Sequence[Obj] = version.get("additionalPrinterColumns") or ()
    if not given:
        return (NAME, AGE_COLUMN), functools.partial(_cells, (_AGE,))
    columns = [
        Column(
            column["name"],
            column["type"],
            column.get("format", ""),
            column.get("description", "") or _described(column["jsonPath"]),
            column.get("priority", 0),
        )
        for column in given
    ]
    return (NAME, *columns), functools.partial(_cells, tuple(given))


_AGE: Obj = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
AGE_COLUMN = Column("Age", "date", "", AGE.description)


def _described(path: str) -> str:
    return f"Custom resource definition column (in JSONPath format): {path}"


def _cells(columns: Sequence[Obj], obj: Obj) -> Sequence[Any]:
    return (obj["metadata"]["name"], *(_cell(column, obj) for column in columns))


def _cell(column: Obj, obj: Obj) -> Any:
    found = jsonpath.find(obj, column["jsonPath"])
    if not found or found[0] is None:
        return None
    return _CELLS.get(column["type"], _text_cell)(found)


def _text_cell(found: Sequence[Any]) -> Any:
    return " ".join(_shown(value) for value in found)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _integer_cell(found: Sequence[Any]) -> Any:
    value = found[0]
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _number_cell(found: Sequence[Any]) -> Any:
    value = found[0]
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _boolean_cell(found: Sequence[Any]) -> Any:
    return found[0] if isinstance(found[0], bool) else None


def _date_cell(found: Sequence[Any]) -> Any:
    return Age(found[0]) if isinstance(found[0], str) else None


_CELLS: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "integer": _integer_cell,
    "number": _number_cell,
    "boolean": _boolean_cell,
    "date": _date_cell,
}
