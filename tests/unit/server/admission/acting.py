"""What tests of admission plugins share: writes that somebody makes, and how they end."""

from dataclasses import replace
from typing import Any

import pytest

from minikube_py.api.errors import StatusError
from minikube_py.server.attributes import Admission, User
from tests.frozen import freeze

ADMIN = User("admin", ("system:masters",))


def pod(**spec: Any) -> dict[str, Any]:
    """Return a pod with one container."""
    return {
        "metadata": {"namespace": "a", "name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def write(resource: Any, obj: Any, operation: Any = "CREATE", **more: Any) -> Admission:
    """Return a write by an administrator into the namespace `a`."""
    return Admission(
        **{
            "user": ADMIN,
            "operation": operation,
            "resource": resource,
            "namespace": "a" if resource.namespaced else "",
            "name": obj["metadata"]["name"] if obj else "",
            "obj": freeze(obj),
            **more,
        }
    )


async def run(plugin: Any, admission: Admission) -> Any:
    """Return the object as the plugin admits it; what it admits it lets pass too."""
    admitted = await plugin.admit(admission)
    await plugin.validate(replace(admission, obj=admitted))
    return admitted


async def refusal(plugin: Any, admission: Admission) -> str:
    """Return in which words the plugin refuses."""
    with pytest.raises(StatusError) as caught:
        await run(plugin, admission)
    return caught.value.message
