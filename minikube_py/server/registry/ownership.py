"""Who owns which fields: managed fields in the registry.

A write is tracked as its request asked for it, before admission and before the kind's rules, as
upstream's handlers do: what the server adds belongs to nobody. The server's own changes (bindings,
allocations) are not tracked.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from minikube_py.api import jsonpath, managed_fields, schema, schema_check
from minikube_py.api.apply_typed import problems
from minikube_py.api.managed_fields import Writer
from minikube_py.api.object import Obj, evolve, get, without
from minikube_py.api.resource import Resource
from minikube_py.api.schema_complete import complete
from minikube_py.server.registry.hooks import Write


def writer_of(write: Write, now: datetime) -> Writer:
    """Return who writes, for the managed fields."""
    return Writer(
        manager=write.field_manager,
        api_version=write.resource.api_version,
        now=now,
        subresource=write.subresource,
        ignored=managed_fields.reset_of(write.resource, write.subresource),
    )


def tracked(write: Write, new: Obj, old: Obj | None, now: datetime) -> Obj:
    """Return the new object with the managed fields of a create, update or patch."""
    resource = write.resource
    if write.trusted or write.applied or not write.field_manager:
        return new
    kind = resource.type
    if kind is None:
        return new
    if old is not None and undeclared(resource, old):  # upstream gives up and forgets them
        return without(new, "metadata.managedFields")
    asked, known = new, old
    if resource.storage is not None and not resource.custom:
        # what the conversion adds was asked for too
        asked, known = resource.storage.from_storage(resource.storage.to_storage(new)), None
    asked = asked if old is None else complete(kind, asked, known)
    done = managed_fields.track_update(kind, old, asked, writer_of(write, now))
    entries = done["metadata"].get("managedFields")
    if write.subresource == "scale" and entries:
        path = resource.scale_paths.get("specReplicasPath", ".spec.replicas")
        replicas = get(new, jsonpath.names(path) or (), 0)
        entries = _by_scale(entries, write.field_manager, replicas)
    metadata = {key: value for key, value in new["metadata"].items() if key != "managedFields"}
    if entries:
        metadata["managedFields"] = entries
    return {**new, "metadata": metadata}


def undeclared(resource: Resource, obj: Obj) -> str:
    """Say what of a custom object an owner's version has no word for, "" where there is nothing.

    Upstream takes the object as one of each version in which it was written, without pruning it.
    """
    if not resource.version_types:
        return ""
    versions = {entry.api_version for entry in managed_fields.entries_of(obj)}
    for version in sorted(versions - {resource.api_version}):
        kind = resource.version_types.get(version)
        found = list(problems(kind, {**obj, "apiVersion": version})) if kind is not None else []
        if found:
            return found[0] if len(found) == 1 else "\n  ".join(["errors:", *found])
    return ""


def _by_scale(entries: Sequence[Obj], manager: str, replicas: int) -> list[Obj]:
    """Return the entries after a write of the scale: without a time, and nobody owns a zero.

    Upstream tracks the Scale and translates that to the workload; this is what it comes to.
    """
    own = (manager, managed_fields.UPDATE, "scale")
    identities = [(e["manager"], e["operation"], e.get("subresource", "")) for e in entries]
    return [
        _untimed(entry) if identity == own else entry
        for entry, identity in zip(entries, identities, strict=True)
        if identity != own or replicas
    ]


def of_answer(write: Write, answer: Obj, asked: Obj, now: datetime) -> Obj:
    """Return what an endpoint answers, with the fields that were asked for as the writer's."""
    name = _ANSWERS.get((write.resource.group_resource, write.subresource), "")
    if not write.subresource:
        name = write.resource.schema
    if not name or answer["kind"] in ("Status", "SelfSubjectRulesReview"):
        return answer  # upstream answers a review of rules with a new object
    kind = schema.type_of(name)
    given = complete(kind, _defaulted(write, schema_check.check(kind, asked)[0]))
    writer = replace(writer_of(write, now), api_version=answer["apiVersion"])
    done = managed_fields.track_update(kind, None, given, writer)
    entries = done["metadata"].get("managedFields")
    if not entries:
        return answer
    return {**answer, "metadata": {**answer["metadata"], "managedFields": entries}}


def _defaulted(write: Write, asked: Obj) -> Obj:
    """Return what was asked for with the defaults of its kind, which count as asked for."""
    if write.subresource != "token" or get(asked, "spec.expirationSeconds") is not None:
        return asked
    return evolve(asked, "spec.expirationSeconds", TOKEN_SECONDS)


TOKEN_SECONDS = 3600
"""How long a token lasts whose request does not say (`SetDefaults_TokenRequestSpec`)."""
_ANSWERS = {("serviceaccounts", "token"): "io.k8s.api.authentication.v1.TokenRequest"}
"""The types of endpoints' subresources that show who asked."""


def with_old_times(new: Obj, old: Obj) -> Obj:
    """Return the old object where the new one differs in no more than times of managed fields."""
    after, before = _entries(new), _entries(old)
    if any(old.get(key) != value for key, value in new.items() if key != "metadata"):
        return new
    if after is before or len(after) != len(before):
        return new
    if any(_untimed(a) != _untimed(b) for a, b in zip(after, before, strict=True)):
        return new
    metadata = {**new["metadata"], "managedFields": before}
    restored = {**new, "metadata": metadata}
    return old if restored == old else new


def _entries(obj: Obj) -> Any:
    return obj["metadata"].get("managedFields") or ()


def _untimed(entry: Obj) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "time"}
