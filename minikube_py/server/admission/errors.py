"""How a plugin refuses: as apiserver's `admission/errors` words it."""

from collections.abc import Sequence

from minikube_py.api.errors import ForbiddenError
from minikube_py.api.object import Obj
from minikube_py.server.attributes import Admission


def forbidden(admission: Admission, text: str, *, causes: Sequence[Obj] = ()) -> ForbiddenError:
    """Return the error that refuses a write, naming its object."""
    resource = admission.resource
    metadata = (admission.obj or {}).get("metadata") or {}
    name = admission.name or metadata.get("name") or metadata.get("generateName") or "Unknown"
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return ForbiddenError(
        f'{resource.group_resource} "{name}" is forbidden: {text}',
        details={key: value for key, value in details.items() if value},
        causes=causes,
    )


def joined(texts: Sequence[str]) -> str:
    """Return several reasons as one, as Go's aggregated errors print."""
    unique = list(dict.fromkeys(texts))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
