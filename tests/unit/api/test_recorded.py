"""Kinds against recorded exchanges: what a v1.36 server made of each body, and how it refused it.

No server runs here: a step of a scenario is decoded, defaulted, prepared and validated by the
kind's own functions, and the result is compared with the recorded answer.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from minikube_py.api import metadata, schema, schema_check, schema_complete
from minikube_py.api.fields import FieldError, invalid_message
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.object import Obj
from minikube_py.api.resource import Age, Resource
from minikube_py.api.scheme import Scheme

WIRE = Path(__file__).parents[4] / "shared" / "wire"
REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
UNIQUE = "wirewirexx"
UID = "11111111-2222-3333-4444-555555555555"
NOW = "2026-01-01T00:00:00Z"
SCHEME = Scheme(BUILTIN)
AREAS = ("crud", "validation", "subresources", "admission")
MERGE_PATCH = "application/merge-patch+json"
SET_BY_SERVER = ("creationTimestamp", "managedFields", "namespace", "resourceVersion", "uid")
NOT_HERE = {
    # Set by an admission plugin or by the registry, neither of which is part of the kind.
    "certificatesigningrequests": ("spec.username", "spec.groups", "spec.extra"),
    "volumeattributesclasses": ("metadata.finalizers",),
}


ELSEWHERE = (
    "must be specified for an update",  # the registry asks for a resourceVersion
    "compilation failed",  # the CEL compiler speaks
    "must evaluate to",
    "admin access to devices",  # asks for a label of the namespace
)


DIFFERENT = {
    # Upstream compares the bytes of the parameters, which a patch spells anew.
    "crud-deviceclasses-rich-5",
}


class Step(NamedTuple):
    method: str
    resource: Resource
    name: str
    subresource: str
    body: Any
    content_type: str


def load(path: Path) -> Any:
    """Read recorded JSON with plain values in place of what differs from run to run."""
    text = path.read_text().replace("<u>", UNIQUE).replace("<time>", NOW)
    text = re.sub(r"<uid:\d+>", UID, text)
    return json.loads(text.replace("<microtime>", f"{NOW[:-1]}.000000Z"))


def scenarios(areas: Iterable[str]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    for area in areas:
        text = (WIRE / "scenarios" / f"{area}.public.yaml").read_text()
        text = text.replace("{{ns}}", UNIQUE).replace("{{u}}", UNIQUE)
        golden = load(WIRE / "golden" / f"{area}.public.json")["scenarios"]
        for scenario in yaml.load(text, Loader=yaml.CSafeLoader):
            yield scenario["id"], scenario["steps"], golden[scenario["id"]]["steps"]


def parse(step: Mapping[str, Any]) -> Step | None:
    """Return the step where it is a plain write of a kind of a named group, else None."""
    parts = step.get("path", "").strip("/").split("/")
    if parts[0] != "apis" or step.get("query") or step.get("as") or "body" not in step:
        return None
    group, version, *rest = parts[1:]
    if rest and rest[0] == "namespaces":
        rest = rest[2:]
    resource = SCHEME.by_path(group, version, rest[0]) if rest else None
    if resource is None or "create" not in resource.verbs or "get" not in resource.verbs:
        return None
    _, name, subresource = (*rest, "", "")[:3]
    content_type = step.get("headers", {}).get("Content-Type", "application/json")
    return Step(step["method"], resource, name, subresource, step["body"], content_type)


def decode(resource: Resource, body: Obj) -> Obj:
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, **body}
    obj = schema_check.check(schema.type_of(resource.schema), document).obj
    return resource.default({"metadata": {}, **obj})


def create(step: Step) -> tuple[Obj, list[FieldError]]:
    resource = step.resource
    obj = decode(resource, step.body)
    named = metadata.prepare_for_create(obj["metadata"], uid=UID, now=NOW, suffix="xxxxx")
    if resource.namespaced:
        named["namespace"] = UNIQUE
    obj = resource.prepare_for_create({**obj, "metadata": named})
    errors = [*metadata.validate_create(obj, resource), *resource.validate(obj, None)]
    return stored(resource, obj), errors


def merged(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    base = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            base.pop(key, None)
        else:
            base[key] = merged(base.get(key), value)
    return base


def stored(resource: Resource, obj: Obj) -> Obj:
    """Return the object as the registry writes it."""
    plain = json.loads(json.dumps(obj))  # a frozen object is of no class that JSON has
    return schema_complete.stored(schema.type_of(resource.schema), plain)


def update(step: Step, old: Obj) -> tuple[Obj, list[FieldError]]:
    resource = step.resource
    body = merged(old, step.body) if step.method == "PATCH" else step.body
    new = decode(resource, body)
    sub = resource.subresource(step.subresource) if step.subresource else None
    named = metadata.prepare_for_update(new["metadata"], old["metadata"])
    if resource.namespaced:
        named["namespace"] = UNIQUE
    new = {**new, "metadata": named}
    prepare = (sub and sub.prepare_for_update) or resource.prepare_for_update
    validate = (sub and sub.validate) or resource.validate
    new = prepare(new, old)
    return stored(resource, new), [
        *metadata.validate_update(new, old, resource),
        *validate(new, old),
    ]


def bare(resource: Resource, obj: Obj) -> Obj:
    """Return the object without what the registry and admission set."""
    plain: dict[str, Any] = json.loads(json.dumps(obj))
    kept = plain["metadata"].items()
    plain["metadata"] = {key: value for key, value in kept if key not in SET_BY_SERVER and value}
    if resource.plural == "certificatesigningrequests":
        for condition in plain.get("status", {}).get("conditions", ()):
            condition.pop("lastTransitionTime", None)  # a clock is the registry's
    for path in NOT_HERE.get(resource.plural, ()):
        *parents, last = path.split(".")
        place = plain
        for parent in parents:
            place = place.get(parent, {})
        place.pop(last, None)
    return plain


def bare_text(text: str) -> str:
    """Return an error text without the dump of a whole pod template, which is Go's affair."""
    return re.sub(r"Invalid value: \{[^:]*(Spec|spec)\W.*?: field is immutable", "", text)


def compare(step: Step, obj: Obj, errors: list[FieldError], recorded: Mapping[str, Any]) -> None:
    name = obj["metadata"].get("name", "")
    if recorded["status"] == 422:
        stored = step.resource.storage.resource if step.resource.storage else step.resource
        message = invalid_message(stored.group_kind, name, errors) if errors else "valid"
        assert bare_text(message) == bare_text(recorded["body"]["message"])
        causes = [bare_text(json.dumps(error.cause(), sort_keys=True)) for error in errors]
        wanted = recorded["body"]["details"].get("causes", [])
        assert causes == [bare_text(json.dumps(cause, sort_keys=True)) for cause in wanted]
        return
    assert [str(error) for error in errors] == []
    if isinstance(recorded.get("body"), dict) and "metadata" in recorded["body"]:
        assert bare(step.resource, obj) == bare(step.resource, recorded["body"])


def cases() -> Iterator[Any]:
    for name, steps, golden in scenarios(AREAS):
        for number, step in enumerate(steps):
            parsed = parse(step)
            if f"{name}-{number}" in DIFFERENT:
                continue
            if parsed is None or golden[number].get("status") not in {200, 201, 422}:
                continue
            if any(words in str(golden[number].get("body")) for words in ELSEWHERE):
                continue
            if parsed.method == "POST" and not parsed.name:
                yield pytest.param(parsed, None, golden[number], id=f"{name}-{number}")
            before = previous(golden, number, parsed)
            merge = parsed.method == "PATCH" and parsed.content_type == MERGE_PATCH
            shares = not parsed.subresource or shared(parsed)
            if before is not None and shares and (parsed.method == "PUT" or merge):
                yield pytest.param(parsed, before, golden[number], id=f"{name}-{number}")


def shared(step: Step) -> bool:
    sub = step.resource.subresource(step.subresource)
    return sub is not None and sub.shares_object


def previous(golden: list[Any], number: int, step: Step) -> Obj | None:
    """Return the object as the last recorded answer before this step shows it."""
    for answer in reversed(golden[:number]):
        body = answer.get("body")
        if not isinstance(body, dict) or answer.get("status") not in {200, 201}:
            continue
        if body.get("kind") == step.resource.kind and body["metadata"].get("name") == step.name:
            return body if body.get("apiVersion") == step.resource.api_version else None
    return None


@pytest.mark.parametrize(("step", "old", "recorded"), list(cases()))
def test_a_write_has_the_recorded_outcome(step: Step, old: Obj | None, recorded: Any) -> None:
    obj, errors = create(step) if old is None else update(step, old)
    compare(step, obj, errors, recorded)


def rows(golden: list[Any]) -> list[Any]:
    """Return the rows of all recorded tables; an age is shown as one."""
    bodies = [answer.get("body") for answer in golden]
    recorded = [b for b in bodies if isinstance(b, dict) and b.get("kind") == "Table"]
    return [
        ["<age>" if cell == "0s" else cell for cell in row["cells"]]
        for body in recorded
        for row in body["rows"] or ()
    ]


def tables() -> Iterator[Any]:
    for name, steps, golden in scenarios(("representations",)):
        resources = [step.resource for step in map(parse, steps) if step is not None]
        wanted = rows(golden)
        if name.startswith("representations-table-") and resources and wanted:
            yield pytest.param(resources[0], written(steps), wanted, id=name)


def written(steps: list[Any]) -> dict[str, Obj]:
    """Return the objects that the writes at the start of a scenario make, by name."""
    objects: dict[str, Obj] = {}
    for step in map(parse, steps):
        if step is None:
            continue
        if step.method == "POST" and not step.name:
            obj = create(step)[0]
            objects[obj["metadata"]["name"]] = obj
        elif step.name in objects and step.method in {"PUT", "PATCH"}:
            objects[step.name] = update(step, objects[step.name])[0]
    return objects


def shown(cell: Any) -> Any:
    if isinstance(cell, Age):
        return "<unknown>" if cell.timestamp is None else "<age>"
    return cell


@pytest.mark.parametrize(("resource", "objects", "wanted"), list(tables()))
def test_rows_of_tables_are_those_of_the_printers(
    resource: Resource, objects: dict[str, Obj], wanted: list[Any]
) -> None:
    for row in wanted:
        obj = objects[row[-1] if resource.kind == "Event" else row[0]]
        cells = resource.cells(obj) if resource.cells else (row[0], Age(NOW))
        assert [shown(cell) for cell in cells] == row


def warned() -> Iterator[Any]:
    for name, steps, golden in scenarios(("crud",)):
        for number, (step, answer) in enumerate(zip(steps, golden, strict=True)):
            parsed = parse(step)
            if parsed is None or parsed.method != "POST" or answer.get("status") != 201:
                continue
            texts = [text.partition('"')[2][:-1] for text in answer.get("warnings", ())]
            wanted = [text.replace('\\"', '"') for text in texts]
            yield pytest.param(parsed, wanted, id=f"{name}-{number}")


@pytest.mark.parametrize(("step", "wanted"), list(warned()))
def test_a_new_object_is_warned_of_as_recorded(step: Step, wanted: list[str]) -> None:
    obj, _ = create(step)
    assert list(step.resource.warn(obj, None)) == wanted


DEFAULTS = load(REFERENCE / "facts" / "defaults.json")


@pytest.mark.parametrize("name", [name for name in DEFAULTS if not name.startswith("v1 ")])
def test_defaults_are_those_of_the_reference(name: str) -> None:
    given, wanted = DEFAULTS[name]["input"], DEFAULTS[name]["output"]
    resource = SCHEME.by_kind(given["apiVersion"], given["kind"])
    assert resource is not None
    step = Step("POST", resource, "", "", given, "application/json")
    obj, errors = create(step)
    assert [str(error) for error in errors] == []
    assert bare(resource, obj) == bare(resource, wanted)


@pytest.mark.parametrize("name", [name for name in DEFAULTS if not name.startswith("v1 ")])
def test_defaults_of_what_is_complete_change_nothing(name: str) -> None:
    complete = DEFAULTS[name]["output"]
    resource = SCHEME.by_kind(complete["apiVersion"], complete["kind"])
    assert resource is not None
    once = decode(resource, complete)
    assert decode(resource, once) == once
