"""The core kinds against recorded exchanges: what is stored, what is refused and in which words."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from minikube_py.api.fields import invalid_message
from minikube_py.api.object import Obj, without
from minikube_py.api.resource import Age, Resource
from tests.frozen import freeze
from tests.unit.api.core.recorded import (
    BY_PLURAL,
    NOW,
    Exchange,
    Step,
    create,
    decode,
    exchanges,
    load,
    parse,
    scenarios,
    update,
)

AREAS = ("crud", "validation", "subresources", "deletion")
SET_BY_SERVER = ("creationTimestamp", "managedFields", "namespace", "resourceVersion", "uid")
NOT_HERE = {
    # Set by admission plugins, by the registry or by a controller, none of which is the kind.
    "pods": ("spec.serviceAccount", "spec.serviceAccountName", "spec.priority",
             "spec.preemptionPolicy", "spec.tolerations", "spec.volumes"),
    "services": ("spec.clusterIP", "spec.clusterIPs", "spec.ipFamilies", "spec.ipFamilyPolicy",
                 "spec.ports"),
    "nodes": ("spec.taints",),
    "namespaces": ("metadata.labels",),
}  # fmt: skip
PROTECTED = {"kubernetes.io/pv-protection", "kubernetes.io/pvc-protection"}
REFUSED_ELSEWHERE = (
    "metadata.resourceVersion",
    "provided port is not in the valid range",
    "must be specified for an update",
    "CreateOptions",
    "UpdateOptions",
    "PatchOptions",
)


def bare(resource: Resource, obj: Obj) -> Obj:
    """Return the object without what the registry and admission set."""
    plain: dict[str, Any] = json.loads(json.dumps(obj))
    kept = plain["metadata"].items()
    plain["metadata"] = {key: value for key, value in kept if key not in SET_BY_SERVER and value}
    finalizers = plain["metadata"].pop("finalizers", [])
    if others := [name for name in finalizers if name not in PROTECTED]:
        plain["metadata"]["finalizers"] = others
    for path in NOT_HERE.get(resource.plural, ()):
        plain = dict(without(plain, path))
    if resource.plural == "pods":
        for key in ("containers", "initContainers"):
            for container in plain["spec"].get(key, ()):
                container.pop("volumeMounts", None)
    return plain


def bare_text(text: str) -> str:
    """Return a message without the difference of two pods, which records do not keep."""
    return re.sub(r"(previously negative\))(\n.*|<dump>)", r"\1", text, flags=re.DOTALL)


def bare_cause(cause: Mapping[str, Any]) -> dict[str, Any]:
    return {**cause, "message": bare_text(cause["message"])}


def recorded(areas: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(exchange, id=exchange.name)
        for exchange in exchanges(areas)
        if not any(words in str(exchange.answer.get("body")) for words in REFUSED_ELSEWHERE)
    ]


@pytest.mark.parametrize("exchange", recorded(AREAS))
def test_a_write_has_the_recorded_outcome(exchange: Exchange) -> None:
    step, old, answer = exchange.step, exchange.old, exchange.answer
    obj, errors = create(step) if old is None else update(step, old)
    body = answer.get("body")
    if answer["status"] == 422:
        name = obj["metadata"].get("name", "")
        message = invalid_message(step.resource.group_kind, name, errors) if errors else "valid"
        assert bare_text(message) == bare_text(body["message"].replace("<gen:0>", name))
        causes = [bare_cause(error.cause()) for error in errors]
        wanted = json.loads(json.dumps(body["details"].get("causes", [])).replace("<gen:0>", name))
        assert causes == [bare_cause(cause) for cause in wanted]
        return
    assert [str(error) for error in errors] == []
    if isinstance(body, dict) and "metadata" in body:
        assert bare(step.resource, obj) == bare(step.resource, body)


DEFAULTS = load("reference/facts/defaults.json")
CORE = [name for name in DEFAULTS if name.startswith("v1 ")]


@pytest.mark.parametrize("name", CORE)
def test_defaults_are_those_of_the_reference(name: str) -> None:
    given, wanted = DEFAULTS[name]["input"], DEFAULTS[name]["output"]
    resource = next(r for r in BY_PLURAL.values() if r.kind == given["kind"])
    obj, errors = create(Step("POST", resource, "", "", given, "application/json"))
    assert [str(error) for error in errors] == []
    assert bare(resource, obj) == bare(resource, wanted)


@pytest.mark.parametrize("name", CORE)
def test_defaults_of_what_is_complete_change_nothing(name: str) -> None:
    complete = freeze(DEFAULTS[name]["output"])
    resource = next(r for r in BY_PLURAL.values() if r.kind == complete["kind"])
    once = decode(resource, complete)
    assert decode(resource, once) == once


@pytest.mark.parametrize("name", CORE)
def test_an_update_that_changes_nothing_is_no_new_generation(name: str) -> None:
    given = DEFAULTS[name]["input"]
    resource = next(r for r in BY_PLURAL.values() if r.kind == given["kind"])
    old, _ = create(Step("POST", resource, "", "", given, "application/json"))
    new = resource.prepare_for_update(old, old)
    assert new == old
    assert [str(error) for error in resource.validate(new, old)] == []


def written(steps: list[Any]) -> dict[str, Obj]:
    """Return the objects that the writes at the start of a scenario make, by name."""
    objects: dict[str, Obj] = {}
    for step in map(parse, steps):
        if step is None:
            continue
        if step.method == "POST" and not step.name:
            obj, _ = create(step)
            objects[obj["metadata"]["name"]] = obj
        elif step.name in objects and step.method in {"PUT", "PATCH"}:
            objects[step.name] = update(step, objects[step.name])[0]
    return objects


def rows(answers: list[Any]) -> list[Any]:
    bodies = [answer.get("body") for answer in answers]
    tables = [b for b in bodies if isinstance(b, dict) and b.get("kind") == "Table"]
    return [row["cells"] for table in tables for row in table["rows"] or ()]


def tables() -> list[Any]:
    found = []
    for name, steps, golden in scenarios(("representations",)):
        resource = BY_PLURAL.get(name.removeprefix("representations-table-"))
        wanted = rows(golden)
        if resource is not None and wanted:
            found.append(pytest.param(resource, written(steps), wanted, id=name))
    return found


def shown(cell: Any) -> Any:
    if not isinstance(cell, Age):
        return cell
    return "<unknown>" if cell.timestamp is None else "<age>"


ALLOCATED = {
    # By column: what a recorded row shows of addresses and ports that were allocated.
    "Cluster-IP": lambda _cell: "<none>",
    "Port(s)": lambda cell: re.sub(r":<port:\d+>", "", cell),
}


@pytest.mark.parametrize(("resource", "objects", "wanted"), tables())
def test_rows_of_tables_are_those_of_the_printers(
    resource: Resource, objects: Mapping[str, Obj], wanted: list[Any]
) -> None:
    assert resource.cells is not None or len(resource.columns) == 2
    for row in wanted:
        obj = objects.get(row[-1] if resource.kind == "Event" else row[0])
        if obj is None or "Terminating" in row:
            continue
        cells = resource.cells(obj) if resource.cells else (row[0], Age(NOW))
        expected = [
            ALLOCATED[column.name](cell) if column.name in ALLOCATED else cell
            for column, cell in zip(resource.columns, row, strict=True)
        ]
        assert [shown(cell) for cell in cells] == expected
