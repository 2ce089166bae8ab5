"""A kind is one value: everything that paths, discovery, storage, tables and rules derive from.

One file per kind holds pure functions above and its `Resource(...)` last. Custom resources make
the same value at run time. The functions never assign into an object: they return a new one.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from minikube_py.api.fields import FieldError
from minikube_py.api.object import Obj
from minikube_py.api.schema import Type, type_of

Default = Callable[[Obj], Obj]
"""Fill in what the user left out; runs after decoding on every write, and on patch results."""
PrepareForCreate = Callable[[Obj], Obj]
"""Drop what a creator may not set (status), set generation 1."""
PrepareForUpdate = Callable[[Obj, Obj], Obj]
"""(new, old) -> new: keep what this endpoint may not change, raise the generation."""
Validate = Callable[[Obj, Obj | None], Iterable[FieldError]]
"""(new, old) -> errors; old is None on create. Metadata is validated by the registry."""
ValidateInNamespace = Callable[[Obj, Obj | None, Mapping[str, str]], Iterable[FieldError]]
"""(new, old, labels of the namespace) -> errors; old is None on create."""
Warn = Callable[[Obj, Obj | None], Iterable[str]]
"""(new, old) -> what the writer should know, sent as Warning headers; old is None on create."""
Convert = Callable[[Sequence[Obj], str], Awaitable[Sequence[Obj]]]
"""(objects, apiVersion) -> the objects in that version of their kind."""
Cells = Callable[[Obj], Sequence[Any]]
"""The cells of one table row, in the order of the columns."""

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; priority 1 shows with -o wide only."""

    name: str
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


NAME = Column("Name", format="name")
AGE = Column("Age")


@dataclass(frozen=True)
class Age:
    """A cell that the table renders as the time since `timestamp`; None shows `<unknown>`."""

    timestamp: str | None
    before: str = ""
    """Text before the duration: the `3 (` of `3 (5m ago)`."""
    after: str = ""


@dataclass(frozen=True, kw_only=True)
class Subresource:
    """A path below an object, such as `status`, `scale` or `log`.

    `status`-like subresources (`shares_object`) read and write the object itself through
    `prepare_for_update` and `validate`; the others (scale, binding, eviction, token, exec) have a
    kind of their own and a handler in the server's registry, found by (plural, name).
    """

    name: str
    kind: str = ""
    """Kind in discovery; "" means the kind of the parent."""
    group: str | None = None
    version: str | None = None
    verbs: tuple[str, ...] = ("get", "patch", "update")
    shares_object: bool = False
    has_tables: bool = True
    """Whether it is shown as a table to who asks for one."""
    prepare_for_update: PrepareForUpdate | None = None
    validate: Validate | None = None
    metadata_checks: tuple[Literal["create", "update"], ...] = ("update",)
    """As `Resource.metadata_checks`, for updates through this path."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resource:
    """The description of one kind in one version."""

    group: str = ""
    version: str = "v1"
    kind: str
    plural: str
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    schema: str = ""
    """Name of the type in the schema table: `io.k8s.api.core.v1.Pod`."""
    custom_type: Type | None = None
    """The type of a kind that is in no table."""
    version_types: Mapping[str, Type] = field(default_factory=dict)
    """The types of a custom kind in all its versions, by apiVersion."""
    custom_schema: Obj = field(default_factory=dict)
    """The schema of a custom kind, as its definition has it."""
    prune: Callable[[Obj], tuple[dict[str, Any], list[str]]] | None = None
    """How a custom kind is checked on decoding: the object and the paths of unknown fields."""
    convert: Convert | None = None
    """How a custom kind is brought from one version to another, where that needs a webhook: then
    objects are held in the versions in which they were written."""
    on_read: Callable[[Obj], Obj] | None = None
    """Makes what the datastore holds an object of today: custom kinds change while it is stored."""
    list_name: str = ""
    """The kind of a list, where it is not the kind and `List`."""
    scale_paths: Obj = field(default_factory=dict)
    """Where a custom kind has its replicas and their selector."""
    prepare_for_delete: Callable[[Obj], Obj] = lambda obj: obj
    """What a DELETE changes first, such as a finalizer that waits for others."""
    refuses_create: str = ""
    """Why no object can be created now, "" where one can."""
    served: bool = True
    """Whether clients may use it; a custom kind may be stored in a version that is not served."""
    columns: tuple[Column, ...] = (NAME, AGE)
    cells: Cells | None = None
    """None prints name and age."""
    row_order: Callable[[Obj], Any] | None = None
    """The key by which the rows of a table are sorted, where that is not their order in a list."""
    row_conditions: Callable[[Obj], Sequence[Obj]] | None = None
    """The conditions of a table row: pods that have ended are marked Completed."""
    default: Default = lambda obj: obj
    prepare_for_create: PrepareForCreate = lambda obj: obj
    prepare_for_update: PrepareForUpdate = lambda new, _old: new
    validate: Validate = lambda _new, _old: ()
    warn: Warn = lambda _new, _old: ()
    validate_in_namespace: ValidateInNamespace | None = None
    """What depends on the labels of the object's namespace; told before all else."""
    metadata_checks: tuple[Literal["create", "update"], ...] = ("update",)
    """Which of its own checks of metadata upstream's kind runs on an update, beside those of the
    registry; each run is one more cause in the answer."""
    validate_name: Callable[[str], Iterable[str]] | None = None
    """Yields what is wrong with a name; None means a DNS-1123 subdomain."""
    selectable_fields: Mapping[str, Callable[[Obj], str]] = field(default_factory=dict)
    """Field selectors beside metadata.name and metadata.namespace; value as text."""
    graceful_deletion: bool = False
    """Delete first sets deletionTimestamp and a grace period (pods)."""
    allow_create_on_update: bool = False
    """A PUT to a name that does not exist creates it."""
    allow_unconditional_update: bool = True
    """An update may leave resourceVersion out."""
    raw_paths: tuple[tuple[str, ...], ...] = ()
    """Where it has free-form values whose text counts (see `api.raw_text`)."""
    stored_version: str = ""
    """The version whose name the storage hash of discovery shows, where it is not this one's."""
    default_garbage_collection: str = "Background"
    """What an unspecified propagationPolicy means: Background or Orphan."""
    storage: "StorageForm | None" = None
    """How this version is stored, where it is not itself the stored one."""
    returns_deleted_object: bool = False
    """A DELETE that removes at once answers with the object instead of a Status."""
    deprecation: str = ""
    """What every answer about this version warns of, in a Warning header."""
    custom: bool = False
    """Made by a CustomResourceDefinition."""
    in_discovery: bool = True
    deprecated: str = ""
    """What every request is warned of: `v1 Endpoints is deprecated in v1.33+; use ...`."""

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`pods` or `deployments.apps`, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """`Pod` or `Deployment.apps`, as messages name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def list_kind(self) -> str:
        """`PodList`."""
        return self.list_name or f"{self.kind}List"

    @property
    def type(self) -> Type | None:
        """The type that objects of this kind have, None where nothing is known."""
        if self.custom_type is not None:
            return self.custom_type
        return type_of(self.schema) if self.schema else None

    @property
    def singular_name(self) -> str:
        """`pod`."""
        return self.singular or self.kind.lower()

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of that name, or None."""
        return next((sub for sub in self.subresources if sub.name == name), None)

    def kind_at(self, subresource: str) -> tuple[str, str, str]:
        """Return group, version and kind of what stands at a path below an object, or at its own.

        A subresource such as `scale` has a kind of its own, of another group perhaps.
        """
        sub = self.subresource(subresource) if subresource else None
        if sub is None or not sub.kind or sub.shares_object:
            return self.group, self.version, self.kind
        group = self.group if sub.group is None else sub.group
        return group, sub.version or self.version, sub.kind

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the REST path of the collection, an object or a subresource."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)

    def selected(self, obj: Obj) -> dict[str, str]:
        """Return the values of all field selectors of an object."""
        return {path: value(obj) for path, value in self.selectable_fields.items()}


@dataclass(frozen=True)
class StorageForm:
    """The stored version of a kind that is served in several."""

    resource: Resource
    to_storage: Callable[[Obj], Obj]
    from_storage: Callable[[Obj], Obj]
    stored_fields: Mapping[str, str] = field(default_factory=dict)
    """What the stored version calls the fields that can be selected by."""
