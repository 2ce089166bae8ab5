"""Whoever writes a policy or a binding must be able to read what parametrises it.

Otherwise a policy's messages would show what its author may not see. Members of system:masters may
read everything. The rules and texts are those of kube-apiserver's registry of these kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Key, Obj
from minikube_py.api.resource import Resource
from minikube_py.api.scheme import Scheme
from minikube_py.client.protocol import Lister
from minikube_py.server.attributes import Attributes, Authorizer, User
from minikube_py.server.authz.asking import asked
from minikube_py.server.authz.chain import MASTERS
from minikube_py.server.registry.hooks import Undo, Write, nothing
from minikube_py.server.registry.refusals import invalid
from minikube_py.server.registry.store import Store

_SPEC: Final = Field("spec")
_EVERYTHING: Final = "permission for all groups, versions and resources"


@dataclass(frozen=True)
class Known:
    """What is known of a paramKind: as much as is not, has to be allowed in general."""

    group: str = "*"
    version: str = "*"
    plural: str = "*"


class _Access:
    """What both hooks do: check the new object where it asks for something else than the old."""

    def __init__(self, scheme: Scheme, authorizer: Authorizer) -> None:
        self._scheme = scheme
        self._authorizer = authorizer

    async def before_create(self, store: Store, write: Write, obj: Obj) -> tuple[Obj, Undo]:
        """Refuse what leads to objects that the requester may not read."""
        return await self.before_update(store, write, obj, {})

    async def before_update(
        self, store: Store, write: Write, new: Obj, old: Obj
    ) -> tuple[Obj, Undo]:
        """Refuse a change that leads to objects that the requester may not read."""
        del store
        if MASTERS not in write.user.groups:
            errors = await self._errors(write.user, new.get("spec") or {}, old.get("spec") or {})
            if errors:
                raise invalid(write.resource, new["metadata"].get("name", ""), errors)
        return new, nothing

    async def after_write(self, store: Store, new: Obj | None, old: Obj | None) -> None:
        """Do nothing more."""

    async def _errors(self, user: User, new: Obj, old: Obj) -> Sequence[FieldError]:
        raise NotImplementedError

    def _known(self, kind: Obj | None) -> Known:
        version = (kind or {}).get("apiVersion") or ""
        if not kind or version.count("/") > 1:
            return Known()
        resource: Resource | None = self._scheme.by_kind(version, kind["kind"])
        group, _, name = version.rpartition("/")
        return Known(group, name, "*" if resource is None else resource.plural)

    async def _allows(self, attributes: Attributes) -> bool:
        return (await asked(self._authorizer, attributes)).allowed


class PolicyAccess(_Access):
    """A policy's author may get all objects of its paramKind."""

    async def _errors(self, user: User, new: Obj, old: Obj) -> Sequence[FieldError]:
        kind = new.get("paramKind")
        if not kind or kind == old.get("paramKind"):
            return ()
        known = self._known(kind)
        attributes = Attributes(
            user=user,
            verb="get",
            group=known.group,
            version=known.version,
            resource=known.plural,
            namespace="*",
            name="*",
        )
        if await self._allows(attributes):
            return ()
        text = (
            f'user {shown(user)} must have "get" permission on all objects of the referenced '
            f"paramKind (kind={kind['kind']}, apiVersion={kind['apiVersion']})"
        )
        return ((_SPEC / "paramKind").forbidden(text),)


class BindingAccess(_Access):
    """A binding's author may read the objects that its paramRef names."""

    def __init__(self, scheme: Scheme, authorizer: Authorizer, policies: Lister) -> None:
        """Make the hook; `policies` is the cache of the policies that bindings name."""
        super().__init__(scheme, authorizer)
        self._policies = policies

    async def _errors(self, user: User, new: Obj, old: Obj) -> Sequence[FieldError]:
        reference, name = new.get("paramRef"), new.get("policyName")
        unchanged = reference == old.get("paramRef") and name == old.get("policyName")
        if reference is None or unchanged:
            return ()
        policy = self._policies.get(Key("", name or ""))
        kind = (policy or {}).get("spec", {}).get("paramKind")
        known = self._known(kind)
        attributes = Attributes(
            user=user,
            verb="get" if reference.get("name") else "list",
            group=known.group,
            version=known.version,
            resource=known.plural,
            namespace=reference.get("namespace") or "",
            name=reference.get("name") or "",
        )
        if await self._allows(attributes):
            return ()
        lacks = f'user {shown(user)} does not have "{attributes.verb}"'
        return ((_SPEC / "paramRef").forbidden(_why(lacks, name, policy, known)),)


def _why(lacks: str, name: str | None, policy: Obj | None, known: Known) -> str:
    if policy is None:
        doubt = f"unable to get policy {name}"
    elif "paramKind" in policy["spec"] and known.plural == "*":
        kind = policy["spec"]["paramKind"]
        what = "parse" if known.group == "*" else "resolve"
        doubt = f"unable to {what} paramKind &{{{kind['apiVersion']} {kind['kind']}}}"
    else:
        return f"{lacks} permission on the object referenced by paramRef"
    return f"{doubt} to determine minimum required permissions and {lacks} {_EVERYTHING}"


def shown(user: User) -> str:
    """Return a user as messages of Go programs show one."""
    extra = " ".join(
        f"{key}:[{' '.join(values)}]" for key, values in sorted(dict(user.extra).items())
    )
    return f"&{{{user.name} {user.uid} [{' '.join(user.groups)}] map[{extra}]}}"
