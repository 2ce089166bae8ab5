"""What expressions of admission policies and match conditions see, and what they must give.

`object` and `oldObject` may be of any kind and are dyn; the request and the namespace have types of
their own. The libraries are those of custom resources' rules. Names, fields and texts are those of
apiserver's `admission/plugin/cel`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from minikube_py.api import cel
from minikube_py.api.cel import libraries, types
from minikube_py.api.cel.libraries.authorizer import AUTHORIZER, RESOURCE_CHECK
from minikube_py.api.cel.types import BOOL, DYN, INT, NULL, STRING, TIMESTAMP, Type
from minikube_py.api.fields import Field, FieldError

MATCH_BUDGET: Final = 2_500_000
"""Units that all match conditions of one webhook or binding may cost."""
BUDGET: Final = 10_000_000
"""Units that all expressions of one policy may cost with one binding."""
MESSAGE_BYTES_MAX: Final = 5 * 1024
"""What a messageExpression may give."""


class ExpressionError(ValueError):
    """An expression does not compile, or gives what it must not; the text is upstream's."""


def _object(type_name: str, /, **fields: Type) -> Type:
    return types.object_of(type_name, fields)


_TEXTS: Final = types.list_of(STRING)
_TEXT_MAP: Final = types.map_of(STRING, STRING)
_KIND: Final = _object("kubernetes.GroupVersionKind", group=STRING, version=STRING, kind=STRING)
_RESOURCE: Final = _object(
    "kubernetes.GroupVersionResource", group=STRING, version=STRING, resource=STRING
)
_USER: Final = _object(
    "kubernetes.UserInfo",
    username=STRING,
    uid=STRING,
    groups=_TEXTS,
    extra=types.map_of(STRING, _TEXTS),
)
REQUEST: Final = _object(
    "kubernetes.AdmissionRequest",
    kind=_KIND,
    resource=_RESOURCE,
    subResource=STRING,
    requestKind=_KIND,
    requestResource=_RESOURCE,
    requestSubResource=STRING,
    name=STRING,
    namespace=STRING,
    operation=STRING,
    userInfo=_USER,
    dryRun=BOOL,
    options=DYN,
)
"""The type of `request`: an AdmissionRequest without the objects, which are variables."""
_CONDITION: Final = _object(
    "kubernetes.NamespaceCondition",
    status=STRING,
    type=STRING,
    lastTransitionTime=TIMESTAMP,
    message=STRING,
    reason=STRING,
)
NAMESPACE: Final = _object(
    "kubernetes.Namespace",
    metadata=_object(
        "kubernetes.NamespaceMetadata",
        name=STRING,
        generateName=STRING,
        namespace=STRING,
        labels=_TEXT_MAP,
        annotations=_TEXT_MAP,
        UID=STRING,
        creationTimestamp=TIMESTAMP,
        deletionGracePeriodSeconds=INT,
        deletionTimestamp=TIMESTAMP,
        generation=INT,
        resourceVersion=STRING,
        finalizers=_TEXTS,
    ),
    spec=_object("kubernetes.NamespaceSpec", finalizers=_TEXTS),
    status=_object(
        "kubernetes.NamespaceStatus", conditions=types.list_of(_CONDITION), phase=STRING
    ),
)
"""The type of `namespaceObject`."""


class _AnyFields(Mapping[str, Type]):
    """The fields of an object that may have any: each is dyn."""

    def __getitem__(self, name: str) -> Type:
        return DYN

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 1


JSON_PATCH: Final = _object("JSONPatch", op=STRING, path=STRING, **{"from": STRING}, value=DYN)
OBJECT: Final = types.object_of("Object", _AnyFields())


class PatchTypes(Mapping[str, Type]):
    """The object types of mutations: JSONPatch, Object and all that are named below it."""

    def __getitem__(self, name: str) -> Type:
        if name == JSON_PATCH.name:
            return JSON_PATCH
        if name == OBJECT.name or name.startswith("Object."):
            return types.object_of(name, OBJECT.fields or {})
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter((JSON_PATCH.name, OBJECT.name))

    def __len__(self) -> int:
        return 2


PATCH_TYPES: Final = PatchTypes()
PATCH_RESULTS: Final[Mapping[str, Type]] = {
    "applyConfiguration": OBJECT,
    "jsonPatch": types.list_of(JSON_PATCH),
}
"""What the expression of each sort of mutation must give, by the field that holds it."""


def variables(
    *, params: bool, authorizer: bool = True, composed: Mapping[str, Type] | None = None
) -> dict[str, Type]:
    """Return the variables of an expression; `composed` are the policy's own, where it has some."""
    known = {"object": DYN, "oldObject": DYN, "namespaceObject": NAMESPACE, "request": REQUEST}
    if params:
        known["params"] = DYN
    if authorizer:
        known |= {"authorizer": AUTHORIZER, "authorizer.requestResource": RESOURCE_CHECK}
    if composed is not None:
        known["variables"] = types.object_of("kubernetes.variables", composed)
    return known


def compiled(
    text: str,
    known: Mapping[str, Type],
    returns: Sequence[Type] = (),
    *,
    patches: bool = False,
) -> cel.Program:
    """Compile an expression that must give one of some types, any where none is named.

    Raises:
        ExpressionError: it does not compile, or gives something else.

    """
    try:
        if patches:
            program = cel.compile(text, known, structs=PATCH_TYPES, functions=libraries.PATCHES)
        else:
            program = cel.compile(text, known)
    except cel.CelError as error:
        raise ExpressionError(f"compilation failed: {error}") from None
    if returns and program.type not in returns:
        names = [each.declared for each in returns]
        wanted = names[0] if len(names) == 1 else f"one of [{' '.join(names)}]"
        raise ExpressionError(f"must evaluate to {wanted} but got {program.type.declared}")
    return program


CONDITION: Final = (BOOL,)
MESSAGE: Final = (STRING,)
ANNOTATION: Final = (STRING, NULL)
"""What conditions, messages and values of audit annotations must give."""


class Composition:
    """The variables of a policy in their order: each sees those before it."""

    def __init__(self, *, params: bool, patches: bool = False) -> None:
        self.params = params
        self.patches = patches
        self.types: dict[str, Type] = {}
        self.programs: dict[str, cel.Program | ExpressionError] = {}

    def add(self, name: str, text: str) -> ExpressionError | None:
        """Compile one more variable; return what is wrong with it."""
        try:
            known = variables(params=self.params, composed=self.types)
            program = compiled(text, known, patches=self.patches)
        except ExpressionError as error:
            self.programs[name] = error
            self.types = {**self.types, name: DYN}
            return error
        self.programs[name] = program
        self.types = {**self.types, name: program.type}
        return None

    def variables(self, *, authorizer: bool = True) -> dict[str, Type]:
        """Return what expressions of the policy see; `variables` only where there are some."""
        composed = self.types if self.programs or self.patches else None
        return variables(params=self.params, authorizer=authorizer, composed=composed)


def problems(
    text: str,
    known: Mapping[str, Type],
    returns: Sequence[Type],
    field: Field,
    *,
    patches: bool = False,
) -> Iterator[FieldError]:
    """Report an expression that does not compile or gives what it must not."""
    try:
        compiled(text, known, returns, patches=patches)
    except ExpressionError as error:
        yield field.invalid(text, str(error))
