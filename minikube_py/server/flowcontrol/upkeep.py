"""The flow-control objects that a server keeps, and the conditions of flow schemas.

The default schemas and levels come back when somebody deletes them; those that say so
(`apf.kubernetes.io/autoupdate-spec`) also when somebody bends them. Every schema's condition
`Dangling` says whether its level is there. Upstream looks each minute; here a change wakes us.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from minikube_py.api import times
from minikube_py.api.errors import ConflictError, NotFoundError
from minikube_py.api.flowcontrol import FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS
from minikube_py.api.flowcontrol.flowschema import DANGLING
from minikube_py.api.object import Obj, condition_of
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.server.bootstrap_objects import Wanted, ensure
from minikube_py.server.registry.cache import Cache

KINDS = (FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS)
MANAGER = "api-priority-and-fairness-config-consumer-v1"
"""Who owns the condition; upstream's name."""
SETTLE_SECONDS = 0.5
"""Several changes are usually made together; they are looked at together."""


def plan(schemas: Sequence[Obj], levels: frozenset[str], now: str) -> Iterator[Obj]:
    """Yield what to apply to the status of schemas whose condition is not as it is to be."""
    for schema in schemas:
        condition = dangling(schema["spec"]["priorityLevelConfiguration"]["name"], levels)
        current = condition_of(schema, DANGLING)
        if current is not None and all(current.get(key) == condition[key] for key in condition):
            continue
        same = current is not None and current.get("status") == condition["status"]
        since = (current or {}).get("lastTransitionTime") if same else None
        yield {
            "apiVersion": schema["apiVersion"],
            "kind": schema["kind"],
            "metadata": {"name": schema["metadata"]["name"], "uid": schema["metadata"]["uid"]},
            "status": {"conditions": [{**condition, "lastTransitionTime": since or now}]},
        }


def dangling(level: str, levels: frozenset[str]) -> dict[str, str]:
    """Return the condition of a schema that refers to a level."""
    found = level in levels
    tail = "and it exists" if found else "but there is no such object"
    return {
        "type": DANGLING,
        "status": "False" if found else "True",
        "reason": "Found" if found else "NotFound",
        "message": (
            f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" '
            f"{tail}"
        ),
    }


async def keep(cache: Cache, client: Client, wanted: Sequence[Wanted], clock: Clock) -> None:
    """Keep the objects and conditions right; never returns."""
    own = [item for item in wanted if item.resource in KINDS]
    changed = asyncio.Event()
    changed.set()
    stops = [cache.kind(kind).subscribe(lambda _changes: changed.set()) for kind in KINDS]
    try:
        while True:
            await changed.wait()
            await clock.sleep(SETTLE_SECONDS)
            changed.clear()
            await ensure(client, own)
            await _set_conditions(cache, client, clock)
    finally:
        for stop in stops:
            stop()


async def _set_conditions(cache: Cache, client: Client, clock: Clock) -> None:
    schemas = [item.obj for item in cache.kind(FLOWSCHEMAS).items()]
    levels = cache.kind(PRIORITYLEVELCONFIGURATIONS).items()
    names = frozenset(item.key.name for item in levels)
    for schema in plan(schemas, names, times.now_string(clock)):
        with contextlib.suppress(ConflictError, NotFoundError):  # gone, or another of that name
            await client.patch(
                FLOWSCHEMAS,
                schema["metadata"]["name"],
                schema,
                patch_type="apply",
                subresource="status",
                field_manager=MANAGER,
                force=True,
            )
