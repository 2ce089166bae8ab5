"""How a refusal is worded: as apiserver's `endpoints/handlers/responsewriters` does."""

from minikube_py.api.errors import ForbiddenError
from minikube_py.server.attributes import Attributes


def forbidden(attributes: Attributes, reason: str = "") -> ForbiddenError:
    """Return the error for a request that no authoriser allowed."""
    text = describe(attributes)
    if reason:
        text = f"{text}: {reason}"
    if not attributes.is_resource:
        error = ForbiddenError(f"forbidden: {text}")
        error.keeps_empty_details = True
        return error
    what = attributes.resource
    if attributes.group:
        what = f"{what}.{attributes.group}"
    head = f'{what} "{attributes.name}" is forbidden' if attributes.name else f"{what} is forbidden"
    details = {"name": attributes.name, "group": attributes.group, "kind": attributes.resource}
    return ForbiddenError(
        f"{head}: {text}", details={key: value for key, value in details.items() if value}
    )


def describe(attributes: Attributes) -> str:
    """Return what was asked, as a sentence: `User "x" cannot list resource "pods" ...`."""
    user = attributes.user.name
    if not attributes.is_resource:
        return f'User "{user}" cannot {attributes.verb} path "{attributes.path}"'
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else ""
    return (
        f'User "{user}" cannot {attributes.verb} resource "{resource}" '
        f'in API group "{attributes.group}" {scope or "at the cluster scope"}'
    )
