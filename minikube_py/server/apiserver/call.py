"""One request about a resource, however it came in: over HTTP or from a part in process."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from minikube_py.api import names
from minikube_py.api.field_selectors import FieldSelector
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver.listing import Listing
from minikube_py.server.apiserver.parameters import ListOptions, WriteOptions
from minikube_py.server.attributes import Attributes, AuditAnnotations, Operation, User
from minikube_py.server.audit.record import Record
from minikube_py.server.authz.selection import fields_of, labels_of
from minikube_py.server.registry.hooks import Write

SUCCESS: Obj = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Success",
    "code": 201,
}
"""What a POST that creates no object answers."""
Change = Callable[[Obj], Obj]
"""Takes the newest object and returns the wanted one."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """Who asks for what of which resource."""

    user: User
    resource: Resource
    verb: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    field_selector: str = ""
    """Of a list, watch or deletecollection, as the client wrote it."""
    label_selector: str = ""
    """The same of labels."""
    options: WriteOptions = field(default_factory=WriteOptions)
    raw: bytes = b""
    """The body as it came, where it is JSON: only the text shows keys that stand twice."""
    found: tuple[str, ...] = ()
    """What a strict reader found wrong with the body, where it is YAML."""
    warnings: list[str] = field(default_factory=list)
    """Collected on the way, for the client."""
    audit: Record | None = None
    """The audit record, where the request has one."""

    @property
    def attributes(self) -> Attributes:
        """The call as authorisation sees it."""
        fields = fields_of(self.field_selector)
        return Attributes(
            user=self.user,
            verb=self.verb,
            path=self.resource.path(self.namespace, self.name, self.subresource),
            group=self.resource.group,
            version=self.resource.version,
            resource=self.resource.plural,
            subresource=self.subresource,
            namespace=self.namespace,
            name=self.name or self._selected_name(fields),
            field_selector=fields,
            label_selector=labels_of(self.label_selector),
        )

    def _selected_name(self, fields: FieldSelector) -> str:
        """Return the name that a list or watch is limited to, which is a read of one object.

        Authorisation sees the name then, as upstream's RequestInfo has it: this is how a kubelet
        may watch a secret without a right to list secrets.
        """
        if not fields or self.verb not in ("list", "watch"):
            return ""
        name = fields.exact("metadata.name") or ""
        return "" if any(names.path_segment(name)) else name

    def _options(self, operation: Operation, given: Obj | None) -> Obj:
        """Return the options as admission sees them; a connection has none."""
        if operation == "CONNECT":
            return {}
        kind = "PatchOptions" if self.verb == "patch" else f"{operation.capitalize()}Options"
        head = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if operation == "DELETE":
            return {**head, **(given or {}), **head}
        return {**head, **self.options.document}

    def write(self, operation: Operation, options: Obj | None = None) -> Write:
        """Return the call as the registry sees it."""
        return Write(
            user=self.user,
            resource=self.resource,
            operation=operation,
            namespace=self.namespace if self.resource.namespaced else "",
            name=self.name,
            subresource=self.subresource,
            dry_run=self.options.dry_run,
            field_manager=self.options.manager,
            options=self._options(operation, options),
            warnings=self.warnings,
            annotations=AuditAnnotations() if self.audit is None else self.audit.annotations,
        )


Create = Callable[[Call, dict[str, Any]], Awaitable[Obj]]
"""Answers a POST."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A subresource with a kind of its own, or a kind that is answered and never stored.

    It has the functions whose verbs its resource has: `get` and `list` for GET, `create` for POST,
    `update` for PUT and PATCH. Where it keeps the owners of its fields, `apply` is for server-side
    apply.
    """

    get: Callable[[Call], Awaitable[Obj]] | None = None
    list: Callable[[Call, ListOptions], Awaitable[Listing]] | None = None
    create: Create | None = None
    update: Callable[[Call, Change], Awaitable[Obj]] | None = None
    apply: Callable[[Call, Change], Awaitable[Obj]] | None = None
