"""Who asks for what: the values that authentication, authorisation and admission hand on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from minikube_py.api.errors import InternalError
from minikube_py.api.field_selectors import FieldSelector
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.api.selectors import LabelSelector

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]


@dataclass(frozen=True)
class User:
    """An authenticated user, as `SelfSubjectReview` shows it."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


class Credentials(NamedTuple):
    """What a connection and its headers say of who asks."""

    authorization: str = ""
    """The Authorization header."""
    peer_certificate: bytes | None = None
    """DER of the client certificate; TLS has verified its chain to an authority that we know."""
    headers: Mapping[str, str] = MappingProxyType({})
    """All headers: an authenticating proxy names the user in some of its own."""
    connection: Any = None
    """The SSLObject of the connection."""
    path: str = ""
    """What is asked for."""


class Authenticator(Protocol):
    """One way to know a user; a chain asks them in turn."""

    async def authenticate(self, credentials: Credentials) -> User | None:
        """Return the user, None where these credentials are not of this method's kind.

        Raises:
            UnauthorizedError: they are of its kind and wrong.

        """


class Attributes(NamedTuple):
    """One request, as authorisation sees it; a tuple, since every request makes one or two."""

    user: User
    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection; for other paths the
    HTTP method in lower case."""
    path: str = ""
    is_resource: bool = True
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: FieldSelector = FieldSelector()
    """Conditions on fields of a list, watch or deletecollection, as far as they are understood."""
    label_selector: LabelSelector = LabelSelector()
    """The same on labels."""


class Decision(NamedTuple):
    """An authoriser's answer; with allowed and denied both False it has no opinion."""

    allowed: bool
    denied: bool = False
    reason: str = ""


class UnansweredError(InternalError):
    """Somebody who was to be asked about a request does not answer."""

    def __init__(self, message: str, *, why: str, denies: bool) -> None:
        """Take what was wrong, and whether that refuses the request whoever else allows it."""
        super().__init__(message)
        self.why = why
        self.denies = denies


@runtime_checkable
class Preparing(Protocol):
    """An authoriser that has to ask somebody first, so that it can decide at once."""

    @property
    def asks_others(self) -> bool:
        """Whether there is anybody to ask right now."""

    async def prepare(self, attributes: "Attributes") -> None:
        """Find out what `authorize` will say of a request.

        Raises:
            UnansweredError: it cannot be found out.

        """


class Authorizer(Protocol):
    """One way to decide; a chain asks them in turn until one has an opinion."""

    def authorize(self, attributes: Attributes) -> Decision:
        """Decide at once, from caches."""


AuditLevel = Literal["Metadata", "Request"]


class AuditAnnotations:
    """What admission tells the audit log of one request; a key is said once."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[str, AuditLevel]] = {}

    def __bool__(self) -> bool:
        return bool(self._texts)

    def add(self, key: str, value: str, level: AuditLevel = "Metadata") -> None:
        """Note a text that is logged from a level of detail on."""
        self._texts.setdefault(key, (value, level))

    def at(self, level: AuditLevel) -> dict[str, str]:
        """Return what a log of that level of detail shows; "Request" shows all."""
        return {
            key: value
            for key, (value, own) in self._texts.items()
            if own == "Metadata" or level == "Request"
        }


class Memory:
    """What a plugin remembers from its first run to its second, of calls that it may repeat.

    A call is repeated where the object changed after it (apiserver's reinvocation contexts).
    """

    def __init__(self) -> None:
        self.last: Any = None
        """The object as the plugin left it."""
        self.earlier: set[Any] = set()
        """Calls that may be repeated."""
        self.required: set[Any] = set()
        """Calls that are to be repeated."""

    def require_earlier(self) -> None:
        """Repeat all that may be."""
        self.required |= self.earlier
        self.earlier = set()


class Reinvocation:
    """Whether admission changes the object a second time, which happens once where it is wanted."""

    def __init__(self) -> None:
        self.again = False
        """Whether this is the second run."""
        self.wanted = False
        """A plugin sets it where those before it should see what it changed."""
        self._memories: dict[str, Memory] = {}

    def of(self, plugin: str) -> Memory:
        """Return what a plugin remembers."""
        return self._memories.setdefault(plugin, Memory())


@dataclass(kw_only=True)
class Admission:
    """One write, as admission plugins see it; only the chain changes it, between two plugins."""

    user: User
    operation: Operation
    resource: Resource
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    obj: Obj | None = None
    """The object as it would be written; None on DELETE."""
    old: Obj | None = None
    options: Obj = field(default_factory=dict)
    """CreateOptions, UpdateOptions, PatchOptions or DeleteOptions; nothing on CONNECT."""
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    """Collected for the client, as those that `validate` returns."""
    annotations: AuditAnnotations = field(default_factory=AuditAnnotations)
    """Collected for the audit log."""
    reinvocation: Reinvocation = field(default_factory=Reinvocation)
    """Of the run of `admit` that this is part of."""


class AdmissionPlugin:
    """One rule about writes; a chain runs all `admit` first, then validation, then `validate`.

    Both raise ForbiddenError (or another StatusError) to refuse. A plugin that says its `resources`
    is asked about those alone, and all are asked about their subresources. What a plugin does not
    define it is not asked.
    """

    name: str
    resources: Sequence[Resource] | None = None

    async def admit(self, admission: Admission) -> Obj | None:
        """Return the object, changed where the plugin fills in something."""
        return admission.obj

    async def validate(self, admission: Admission) -> Sequence[str]:
        """Check the final object; return warnings for the client."""
        del admission
        return ()
