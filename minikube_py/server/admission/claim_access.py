"""Who writes a resource claim's status needs rights of the part that changes.

A right to `resourceclaims/status` alone lets nobody hand out devices or speak for a driver: the
allocation and its consumers need `resourceclaims/binding` (the scheduler's), the state of devices
`resourceclaims/driver` with the driver's name. A driver on the claim's own node may have that
right for its node only. The rules and texts are those of kube-apiserver's registry of claims
(`DRAResourceClaimGranularStatusAuthorization`).
"""

from collections.abc import Iterator, Sequence

from minikube_py.api import names
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.server.attributes import Attributes, Authorizer, User
from minikube_py.server.authn.service_account import NODE_NAME, PREFIX
from minikube_py.server.authz.asking import asked
from minikube_py.server.authz.errors import forbidden
from minikube_py.server.registry.hooks import Undo, Write, nothing
from minikube_py.server.registry.refusals import invalid
from minikube_py.server.registry.store import Store

_STATUS = Field("status")
_ASSOCIATED, _ARBITRARY = "associated-node:", "arbitrary-node:"


class ClaimStatusAccess:
    """Checks the changes of claims' status."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def before_create(self, store: Store, write: Write, obj: Obj) -> tuple[Obj, Undo]:
        """Let it pass: a new claim has no status."""
        del store, write
        return obj, nothing

    async def before_update(
        self, store: Store, write: Write, new: Obj, old: Obj
    ) -> tuple[Obj, Undo]:
        """Refuse a change of what the requester has no right to."""
        del store
        if write.subresource == "status":
            status, before = new.get("status") or {}, old.get("status") or {}
            errors = [
                *await self._binding(write, status, before),
                *await self._devices(write, status, before),
            ]
            if errors:
                raise invalid(write.resource, new["metadata"].get("name", ""), errors)
        return new, nothing

    async def after_write(self, store: Store, new: Obj | None, old: Obj | None) -> None:
        """Do nothing more."""

    async def _binding(self, write: Write, new: Obj, old: Obj) -> Sequence[FieldError]:
        if all((new.get(key) or None) == (old.get(key) or None) for key in _BOUND):
            return ()
        asks = _asks(write, "binding")._replace(namespace="", name="")
        refusal = await self._refusal([asks])
        if not refusal:
            return ()
        needs = f'resource="resourceclaims/binding", verb="{asks.verb}" permission: {refusal}'
        return (
            _STATUS.forbidden(f"changing status.allocation or status.reservedFor requires {needs}"),
        )

    async def _devices(self, write: Write, new: Obj, old: Obj) -> Sequence[FieldError]:
        drivers = sorted(set(_changed_drivers(new.get("devices") or (), old.get("devices") or ())))
        near = bool(drivers) and _is_on(write.user, _node_of(new.get("allocation")))
        errors = []
        for driver in drivers:
            asks = _asks(write, "driver")._replace(name=driver)
            prefixes = (_ASSOCIATED, _ARBITRARY) if near else (_ARBITRARY,)
            verbs = [f"{prefix}{asks.verb}" for prefix in prefixes]
            refusal = await self._refusal([asks._replace(verb=verb) for verb in verbs])
            if refusal:
                needs = f'resource="resourceclaims/driver", verb="[{" ".join(verbs)}]" permission'
                text = f"changing status.devices requires {needs}: {refusal}"
                errors.append((_STATUS / "devices").forbidden(text))
        return errors

    async def _refusal(self, alternatives: Sequence[Attributes]) -> str:
        """Return why none of some rights is given, nothing where one is."""
        first = ""
        for attributes in alternatives:
            decision = await asked(self._authorizer, attributes)
            if decision.allowed:
                return ""
            first = first or str(forbidden(attributes, decision.reason))
        return first


_BOUND = ("allocation", "reservedFor")


def _asks(write: Write, subresource: str) -> Attributes:
    resource = write.resource
    return Attributes(
        user=write.user,
        verb="patch" if write.options.get("kind") == "PatchOptions" else "update",
        group=resource.group,
        version=resource.version,
        resource=resource.plural,
        subresource=subresource,
        namespace=write.namespace,
        name=write.name,
    )


def _changed_drivers(new: Sequence[Obj], old: Sequence[Obj]) -> Iterator[str]:
    """Yield the drivers of devices whose state comes, changes or goes."""
    before = {_identity(device): device for device in old}
    for device in new:
        if before.pop(_identity(device), None) != device:
            yield device["driver"]
    for device in before.values():
        yield device["driver"]


def _identity(device: Obj) -> tuple[str, str, str, str]:
    return device["driver"], device["pool"], device["device"], device.get("shareID") or ""


def _node_of(allocation: Obj | None) -> str:
    """Return the one node that a claim is allocated for, as the scheduler writes it."""
    terms: Sequence[Obj] = get(allocation, "nodeSelector.nodeSelectorTerms") or ()
    if len(terms) != 1 or terms[0].get("matchExpressions"):
        return ""
    fields: Sequence[Obj] = terms[0].get("matchFields") or ()
    if len(fields) != 1 or (fields[0]["key"], fields[0]["operator"]) != ("metadata.name", "In"):
        return ""
    values: Sequence[str] = fields[0].get("values") or ()
    return values[0] if len(values) == 1 else ""


def _is_on(user: User, node: str) -> bool:
    """Return whether a user is a service account whose token belongs to a pod on a node."""
    if not node or any(names.dns1123_subdomain(node)):
        return False
    namespace, _, name = user.name.removeprefix(PREFIX).partition(":")
    is_account = user.name.startswith(PREFIX) and bool(namespace and name)
    return is_account and tuple(user.extra.get(NODE_NAME, ())) == (node,)
