"""Recorded exchanges with a v1.36 server, replayed through a kind's own functions."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from minikube_py.api import metadata, schema, schema_check, schema_complete
from minikube_py.api.core import RESOURCES
from minikube_py.api.core.persistentvolume import with_transition_time
from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj
from minikube_py.api.patch import json_patch, merge_patch, strategic_merge_patch
from minikube_py.api.resource import Resource
from tests.frozen import freeze

SHARED = Path(__file__).parents[5] / "shared"
UNIQUE = "wirewirexx"
UID = "11111111-2222-3333-4444-555555555555"
NOW = "2026-01-01T00:00:00Z"
ADDRESS = "10.96.7.7"
PORT = 30123
TAINT_PREFIX = "node.kubernetes.io/"
BY_PLURAL = {resource.plural: resource for resource in RESOURCES}
_LISTED = ("create", "get")


class Step(NamedTuple):
    method: str
    resource: Resource
    name: str
    subresource: str
    body: Any
    content_type: str


class Exchange(NamedTuple):
    """A request, the object as it was before, and the recorded answer."""

    name: str
    step: Step
    old: Obj | None
    answer: Mapping[str, Any]


def load(path: str) -> Any:
    """Read recorded JSON with plain values in place of what differs from run to run."""
    text = (SHARED / path).read_text().replace("<u>", UNIQUE).replace("<time>", NOW)
    text = re.sub(r"<uid:\d+>", UID, text).replace("<microtime>", f"{NOW[:-1]}.000000Z")
    text = re.sub(r'"<port:(\d+)>"', lambda match: str(PORT + int(match[1])), text)
    return json.loads(re.sub(r"<ip:\d+>", ADDRESS, text.replace("wirefacts", UNIQUE)))


def scenarios(areas: Iterable[str]) -> Iterator[tuple[str, list[Any], list[Any]]]:
    for area in areas:
        text = (SHARED / "wire" / "scenarios" / f"{area}.public.yaml").read_text()
        text = text.replace("{{ns}}", UNIQUE).replace("{{u}}", UNIQUE)
        golden = load(f"wire/golden/{area}.public.json")["scenarios"]
        for scenario in yaml.load(text, Loader=yaml.CSafeLoader):
            yield scenario["id"], scenario["steps"], golden[scenario["id"]]["steps"]


def parse(step: Mapping[str, Any]) -> Step | None:
    """Return the step where it is a plain write of a core kind, else None."""
    parts = step.get("path", "").strip("/").split("/")
    if parts[:2] != ["api", "v1"] or "body" not in step or step.get("as"):
        return None
    if set(step.get("query") or ()) - {"dryRun"}:
        return None
    rest = parts[2:]
    if rest[:1] == ["namespaces"] and len(rest) > 2 and rest[2] not in {"status", "finalize"}:
        rest = rest[2:]
    resource = BY_PLURAL.get(rest[0]) if rest else None
    if resource is None or not set(_LISTED) <= set(resource.verbs):
        return None
    _, name, subresource = (*rest, "", "")[:3]
    content_type = step.get("headers", {}).get("Content-Type", "application/json")
    return Step(step["method"], resource, name, subresource, step["body"], content_type)


def exchanges(areas: Iterable[str]) -> Iterator[Exchange]:
    for name, steps, golden in scenarios(areas):
        for number, raw in enumerate(steps):
            step, answer = parse(raw), golden[number]
            if step is None or answer.get("status") not in {200, 201, 422}:
                continue
            if step.method == "POST" and not step.name:
                yield Exchange(f"{name}-{number}", step, None, answer)
            elif (old := previous(golden[:number], step)) is not None:
                yield Exchange(f"{name}-{number}", step, old, answer)


def shares(step: Step) -> bool:
    if not step.subresource:
        return True
    sub = step.resource.subresource(step.subresource)
    return sub is not None and sub.shares_object


def previous(golden: Sequence[Any], step: Step) -> Obj | None:
    """Return the object as the last recorded answer shows it, None where it cannot be written."""
    if step.method not in {"PUT", "PATCH"} or not shares(step):
        return None
    for answer in reversed(golden):
        body = answer.get("body")
        if not isinstance(body, dict) or answer.get("status") not in {200, 201}:
            continue
        if body.get("kind") == step.resource.kind and body["metadata"].get("name") == step.name:
            return body
    return None


def decode(resource: Resource, body: Obj) -> Obj:
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, **body}
    obj = schema_check.check(schema.type_of(resource.schema), document).obj
    return resource.default(freeze({"metadata": {}, **obj}))


def create(step: Step) -> tuple[Obj, list[FieldError]]:
    """Return what becomes of the body of a create, and what is wrong with it."""
    resource = step.resource
    body = with_account(step.body) if resource.plural == "pods" else step.body
    obj = decode(resource, body)
    named = metadata.prepare_for_create(obj["metadata"], uid=UID, now=NOW, suffix="xxxxx")
    if resource.namespaced:
        named["namespace"] = UNIQUE
    obj = resource.prepare_for_create(freeze({**obj, "metadata": named}))
    errors = [*metadata.validate_create(obj, resource), *resource.validate(obj, None)]
    return stored(resource, obj), errors


def with_account(pod: Obj) -> Obj:
    """Return the pod with the service account that admission gives it."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return pod
    return {**pod, "spec": {"serviceAccountName": "default", **spec}}


def with_tolerations(spec: Obj, old: Obj) -> Obj:
    """Return the spec with the tolerations that admission gives every pod."""
    given = spec.get("tolerations") or []
    keys = {toleration.get("key") for toleration in given}
    added = [
        toleration
        for toleration in old.get("tolerations") or ()
        if toleration.get("key", "").startswith(TAINT_PREFIX) and toleration["key"] not in keys
    ]
    return {**spec, "tolerations": [*given, *added]}


def stored(resource: Resource, obj: Obj) -> Obj:
    """Return the object as the registry writes it."""
    plain = json.loads(json.dumps(obj))  # a frozen object is of no class that JSON has
    return schema_complete.stored(schema.type_of(resource.schema), plain)


def update(step: Step, old: Obj) -> tuple[Obj, list[FieldError]]:
    """Return what becomes of the object, and what is wrong with that."""
    resource = step.resource
    body = patched(step, old) if step.method == "PATCH" else step.body
    if resource.plural == "pods" and isinstance(body.get("spec"), dict):
        body = {**body, "spec": with_tolerations(body["spec"], old["spec"])}
    new = decode(resource, body)
    sub = resource.subresource(step.subresource) if step.subresource else None
    named = metadata.prepare_for_update(new["metadata"], old["metadata"])
    if resource.namespaced:
        named["namespace"] = UNIQUE
    prepare = (sub and sub.prepare_for_update) or resource.prepare_for_update
    validate = (sub and sub.validate) or resource.validate
    checks = (sub or resource).metadata_checks
    new = prepare(freeze({**new, "metadata": named}), freeze(old))
    if resource.plural == "persistentvolumes" and sub is not None:
        new = with_transition_time(new, NOW)  # the clock is the registry's
    return stored(resource, new), [
        *metadata.validate_update(new, old, resource, checks=checks),
        *validate(new, old),
    ]


def patched(step: Step, old: Obj) -> Obj:
    if step.content_type.startswith("application/json-patch"):
        return json_patch.apply(old, step.body)
    if step.content_type.startswith("application/strategic"):
        kind = schema.type_of(step.resource.schema)
        return strategic_merge_patch.apply(old, step.body, kind)
    return merge_patch.apply(old, step.body)
