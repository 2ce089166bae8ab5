"""The paths of the API as values: what OpenAPI v2 and v3 write down in their two ways.

Paths, operations and their parameters follow from a resource's verbs and subresources by the
rules of apiserver's installer; the ids are those that generated clients are named after.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from minikube_py.api.resource import Resource, Subresource

STRING = "string"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
VERSION_INFO = "io.k8s.apimachinery.pkg.version.Info"

PARAMETERS: dict[str, tuple[str, str]] = {
    "allowWatchBookmarks": ("boolean", "whether a watch may send BOOKMARK events"),
    "command": ("string", "the command to run, one parameter for each word; no shell reads it"),
    "container": ("string", "the container; the only one of the pod where it has one"),
    "continue": ("string", "the token of an earlier page of the same list"),
    "dryRun": ("string", "All: do everything but store the result"),
    "fieldManager": ("string", "the name under which managed fields record the change"),
    "fieldSelector": ("string", "selects objects by the values of their fields"),
    "fieldValidation": (
        "string",
        "what unknown and duplicate fields lead to: Ignore, Warn, Strict",
    ),
    "follow": ("boolean", "whether to go on with what is logged from now on"),
    "force": ("boolean", "whether an apply takes over fields that others manage"),
    "gracePeriodSeconds": ("integer", "seconds until the object is deleted; 0 is at once"),
    "ignoreStoreReadErrorWithClusterBreakingPotential": (
        "boolean",
        "whether to delete an object that can no longer be read from the store",
    ),
    "insecureSkipTLSVerifyBackend": ("boolean", "whether the kubelet's certificate is not checked"),
    "labelSelector": ("string", "selects objects by their labels"),
    "limit": ("integer", "the most items of one page of a list"),
    "limitBytes": ("integer", "the most bytes of a log"),
    "orphanDependents": ("boolean", "deprecated, use propagationPolicy"),
    "path": ("string", "the path at the target"),
    "ports": ("integer", "the ports to forward"),
    "pretty": ("string", "whether the answer is indented"),
    "previous": ("boolean", "whether to read the log of the container before its last restart"),
    "propagationPolicy": ("string", "what happens to dependents: Orphan, Background, Foreground"),
    "resourceVersion": ("string", "from or at which version of the store to read"),
    "resourceVersionMatch": ("string", "how resourceVersion is meant: Exact or NotOlderThan"),
    "sendInitialEvents": ("boolean", "whether a watch begins with what is there already"),
    "shardSelector": ("string", "selects a shard of the objects"),
    "sinceSeconds": ("integer", "how many seconds back a log begins"),
    "stderr": ("boolean", "whether standard error is sent"),
    "stdin": ("boolean", "whether standard input is read"),
    "stdout": ("boolean", "whether standard output is sent"),
    "stream": ("string", "which stream of a log: All, Stdout, Stderr"),
    "tailLines": ("integer", "how many lines from its end a log begins"),
    "timeoutSeconds": ("integer", "seconds after which a list or watch ends"),
    "timestamps": ("boolean", "whether each line of a log begins with its time"),
    "tty": ("boolean", "whether the command gets a terminal"),
    "watch": ("boolean", "whether to go on with what changes"),
}
"""Query parameters: type and meaning."""

LIST = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit",
    "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "shardSelector",
    "timeoutSeconds", "watch",
)  # fmt: skip
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_DELETE = (
    "dryRun", "gracePeriodSeconds", "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents", "propagationPolicy",
)  # fmt: skip
_DELETE_COLLECTION = tuple(sorted({*_DELETE, *LIST} - {"allowWatchBookmarks", "watch"}))
_STREAMS = ("container", "stderr", "stdin", "stdout", "tty")
_CONNECT = {
    "attach": _STREAMS,
    "exec": ("command", *_STREAMS),
    "portforward": ("ports",),
    "proxy": ("path",),
}
_LOG = (
    "container", "follow", "insecureSkipTLSVerifyBackend", "limitBytes", "previous",
    "sinceSeconds", "stream", "tailLines", "timestamps",
)  # fmt: skip
_CONNECT_METHODS = {
    "create": ("post",), "delete": ("delete",), "get": ("get",), "patch": ("patch",),
    "update": ("put",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    id: str
    description: str
    response: str = STRING
    """The definition that is answered, or `string`."""
    action: str = ""
    gvk: tuple[str, str, str] | None = None
    """Group, version and kind that the operation is about."""
    query: tuple[str, ...] = ()
    body: str = ""
    body_required: bool = True
    codes: tuple[int, ...] = (200,)
    watches: bool = False
    strategic: bool = True
    """Whether a patch may be a strategic merge patch; clients choose by this."""


@dataclass(frozen=True)
class PathItem:
    """One path; what all its operations take stands at the path."""

    path: str
    variables: tuple[str, ...]
    """The variables of the path: namespace, name, path."""
    operations: tuple[Operation, ...]
    pretty: bool = True

    @property
    def common(self) -> frozenset[str]:
        """The query parameters of every operation."""
        queries = [set(operation.query) for operation in self.operations]
        shared = set.intersection(*queries) if queries else set()
        return frozenset(shared | {"pretty"} if self.pretty else shared)


def group_id(group: str) -> str:
    """Return a group as ids name it: `Core`, `Apps`, `RbacAuthorization`."""
    parts = group.removesuffix(".k8s.io").split(".") if group else ["core"]
    return "".join(part[:1].upper() + part[1:] for part in parts)


def version_id(group: str, version: str) -> str:
    """Return a group and version as ids name them: `CoreV1`."""
    return group_id(group) + version[:1].upper() + version[1:]


def definition_name(group: str, version: str, kind: str) -> str:
    """Return the definition of a kind of the API packages: `io.k8s.api.policy.v1.Eviction`."""
    return f"io.k8s.api.{group.partition('.')[0] or 'core'}.{version}.{kind}"


def base_path(group: str, version: str) -> str:
    """Return `/api/v1` or `/apis/apps/v1`."""
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def version_paths(group: str, version: str, resources: Iterable[Resource]) -> Iterator[PathItem]:
    """Yield the paths of a group and version."""
    there = tuple(resources)
    if not there or not all(resource.custom for resource in there):
        name = f"get{version_id(group, version)}APIResources"
        yield _discovery(f"{base_path(group, version)}/", name, "APIResourceList", "resources")
    for resource in there:
        yield from _Paths(resource).all()


def _discovery(path: str, name: str, kind: str, what: str) -> PathItem:
    operation = Operation(
        method="get", id=name, description=f"get available {what}", response=META + kind
    )
    return PathItem(path, (), (operation,), pretty=False)


def group_path(group: str) -> PathItem:
    """Return the path that tells of a group."""
    name = f"get{group_id(group)}APIGroup"
    return _discovery(f"/apis/{group}/", name, "APIGroup", "versions of the group")


def root_paths() -> dict[str, PathItem]:
    """Return the paths beside the groups, by the name of their document."""
    version = Operation(
        method="get",
        id="getCodeVersion",
        description="get the version of the server",
        response=VERSION_INFO,
    )
    return {
        "api": _discovery("/api/", "getCoreAPIVersions", "APIVersions", "versions"),
        "apis": _discovery("/apis/", "getAPIVersions", "APIGroupList", "groups"),
        "version": PathItem("/version/", (), (version,), pretty=False),
    }


class _Paths:
    """The paths of one resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.base = base_path(resource.group, resource.version)
        self.id = version_id(resource.group, resource.version)
        self.gvk = (resource.group, resource.version, resource.kind)
        self.scope = "Namespaced" if resource.namespaced else ""
        self.name = f"{self.id}{self.scope}{resource.kind}"
        self.variables = ("namespace",) if resource.namespaced else ()
        spaced = "/namespaces/{namespace}" if resource.namespaced else ""
        self.collection = f"{spaced}/{resource.plural}"

    def all(self) -> Iterator[PathItem]:
        """Yield every path."""
        yield from self._collections()
        yield from self._item()
        for sub in self.resource.subresources:
            yield from self._subresource(sub)
        if "watch" in self.resource.verbs and not self.resource.custom:
            yield from self._watches()

    def _collections(self) -> Iterator[PathItem]:
        resource, verbs = self.resource, self.resource.verbs
        operations = []
        if "deletecollection" in verbs:
            operations.append(self._delete_collection())
        if "list" in verbs:
            operations.append(self._list(f"list{self.name}"))
        if "create" in verbs:
            operations.append(self._create(f"create{self.name}", resource.schema, self.gvk))
        if operations:
            path = self.base + self.collection
            yield PathItem(path, self.variables, tuple(operations))
        if resource.namespaced and "list" in verbs:
            everywhere = self._list(f"list{self.id}{resource.kind}ForAllNamespaces")
            yield PathItem(f"{self.base}/{resource.plural}", (), (everywhere,))

    def _item(self) -> Iterator[PathItem]:
        verbs = [v for v in ("delete", "get", "patch", "update") if v in self.resource.verbs]
        operations = tuple(self._verb(v, "", self.resource.schema, self.gvk) for v in verbs)
        if operations:
            path = f"{self.base}{self.collection}/{{name}}"
            yield PathItem(path, ("name", *self.variables), operations)

    def _subresource(self, sub: Subresource) -> Iterator[PathItem]:
        path = f"{self.base}{self.collection}/{{name}}/{sub.name}"
        variables = ("name", *self.variables)
        tail = sub.name[:1].upper() + sub.name[1:]
        gvk = (
            (self.gvk[0], self.gvk[1], sub.kind or self.resource.kind)
            if sub.version is None
            else (sub.group or "", sub.version, sub.kind)
        )
        if sub.name in _CONNECT:
            yield PathItem(path, variables, self._connects(sub, tail, gvk), pretty=False)
            if sub.name == "proxy":
                operations = self._connects(sub, "ProxyWithPath", gvk)
                yield PathItem(f"{path}/{{path}}", (*variables, "path"), operations, pretty=False)
            return
        own = gvk == self.gvk
        schema = self.resource.schema if own else definition_name(*gvk)
        operations = tuple(self._verb(verb, tail, schema, gvk) for verb in sorted(sub.verbs))
        yield PathItem(path, variables, operations)

    def _connects(
        self, sub: Subresource, tail: str, gvk: tuple[str, str, str]
    ) -> tuple[Operation, ...]:
        methods = [method for verb in sub.verbs for method in _CONNECT_METHODS.get(verb, ())]
        if "delete" in methods:
            methods += ["head", "options"]
        kind = f"{self.scope}{self.resource.kind}"
        return tuple(
            Operation(
                method=method,
                id=f"connect{self.id}{method.capitalize()}{kind}{tail}",
                description=f"connect {method.upper()} requests to {sub.name} of {gvk[2]}",
                action="connect",
                gvk=gvk,
                query=_CONNECT[sub.name],
            )
            for method in sorted(methods)
        )

    def _watches(self) -> Iterator[PathItem]:
        resource = self.resource
        base = f"{self.base}/watch"
        item = self._watch(f"watch{self.name}", "watch")
        listed = self._watch(f"watch{self.name}List", "watchlist")
        yield PathItem(base + self.collection, self.variables, (listed,))
        yield PathItem(f"{base}{self.collection}/{{name}}", ("name", *self.variables), (item,))
        if resource.namespaced:
            name = f"watch{self.id}{resource.kind}ListForAllNamespaces"
            yield PathItem(f"{base}/{resource.plural}", (), (self._watch(name, "watchlist"),))

    # --- operations -------------------------------------------------------------------------------

    def _verb(self, verb: str, tail: str, schema: str, gvk: tuple[str, str, str]) -> Operation:
        match verb:
            case "get":
                return self._read(tail, schema, gvk)
            case "patch":
                return self._patch(tail, schema, gvk)
            case "update":
                return self._replace(tail, schema, gvk)
            case "create":
                return self._create(f"create{self.name}{tail}", schema, gvk)
            case "delete":
                return self._delete()
        raise ValueError(f"verb {verb!r} of {self.resource.plural} has no operation")

    def _list(self, name: str) -> Operation:
        return Operation(
            method="get",
            id=name,
            description=f"list or watch objects of kind {self.resource.kind}",
            response=f"{self.resource.schema}List",
            action="list",
            gvk=self.gvk,
            query=LIST,
            watches=True,
        )

    def _watch(self, name: str, action: str) -> Operation:
        return Operation(
            method="get",
            id=name,
            description=f"watch changes of {self.resource.kind}; deprecated, list with watch=true",
            response=META + "WatchEvent",
            action=action,
            gvk=self.gvk,
            query=LIST,
            watches=True,
        )

    def _create(self, name: str, schema: str, gvk: tuple[str, str, str]) -> Operation:
        return Operation(
            method="post",
            id=name,
            description=f"create a {gvk[2]}",
            response=schema,
            action="post",
            gvk=gvk,
            query=_WRITE,
            body=schema,
            codes=(200, 201, 202),
        )

    def _read(self, tail: str, schema: str, gvk: tuple[str, str, str]) -> Operation:
        is_log = tail == "Log"
        return Operation(
            method="get",
            id=f"read{self.name}{tail}",
            description=f"read {self._what(tail)}",
            response=STRING if is_log else schema,
            action="get",
            gvk=gvk,
            query=_LOG if is_log else (),
        )

    def _replace(self, tail: str, schema: str, gvk: tuple[str, str, str]) -> Operation:
        return Operation(
            method="put",
            id=f"replace{self.name}{tail}",
            description=f"replace {self._what(tail)}",
            response=schema,
            action="put",
            gvk=gvk,
            query=_WRITE,
            body=schema,
            codes=(200, 201),
        )

    def _patch(self, tail: str, schema: str, gvk: tuple[str, str, str]) -> Operation:
        return Operation(
            method="patch",
            id=f"patch{self.name}{tail}",
            description=f"partially update {self._what(tail)}",
            response=schema,
            action="patch",
            gvk=gvk,
            query=(*_WRITE, "force"),
            body=META + "Patch",
            codes=(200, 201),
            strategic=not self.resource.custom,
        )

    def _delete(self) -> Operation:
        resource = self.resource
        return Operation(
            method="delete",
            id=f"delete{self.name}",
            description=f"delete {self._what('')}",
            response=resource.schema if resource.returns_deleted_object else META + "Status",
            action="delete",
            gvk=self.gvk,
            query=_DELETE,
            body=META + "DeleteOptions",
            body_required=False,
            codes=(200, 202),
        )

    def _delete_collection(self) -> Operation:
        return Operation(
            method="delete",
            id=f"delete{self.id}Collection{self.scope}{self.resource.kind}",
            description=f"delete collection of {self.resource.kind}",
            response=META + "Status",
            action="deletecollection",
            gvk=self.gvk,
            query=_DELETE_COLLECTION,
            body=META + "DeleteOptions",
            body_required=False,
        )

    def _what(self, tail: str) -> str:
        kind = self.resource.kind
        return f"{tail.lower()} of the specified {kind}" if tail else f"the specified {kind}"


def sorted_items(items: Iterable[PathItem]) -> Sequence[PathItem]:
    """Return path items in the order of their paths."""
    return sorted(items, key=lambda item: item.path)
