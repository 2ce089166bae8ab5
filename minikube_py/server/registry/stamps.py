"""What the registry writes into some kinds: who asked, and when something changed."""

from typing import Any

from minikube_py.api import times
from minikube_py.api.certificates.signing import stamp_conditions
from minikube_py.api.core.persistentvolume import with_transition_time
from minikube_py.api.object import Obj
from minikube_py.server.registry.hooks import Undo, Write, nothing
from minikube_py.server.registry.store import Store


class SigningRequestHook:
    """A certificate signing request says who made it, its conditions say since when they hold."""

    async def before_create(self, store: Store, write: Write, obj: Obj) -> tuple[Obj, Undo]:
        """Write the requester down; what the request itself says of that does not count."""
        del store
        user = write.user
        who: dict[str, Any] = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra.items()},
        }
        spec = {key: value for key, value in obj["spec"].items() if key not in who}
        spec |= {key: value for key, value in who.items() if value}
        return {**obj, "spec": spec}, nothing

    async def before_update(
        self, store: Store, write: Write, new: Obj, old: Obj
    ) -> tuple[Obj, Undo]:
        """Date new conditions."""
        if not write.subresource:
            return new, nothing
        return stamp_conditions(new, old, times.now_string(store.clock)), nothing

    async def after_write(self, store: Store, new: Obj | None, old: Obj | None) -> None:
        """Do nothing more."""


class VolumeHook:
    """A persistent volume says when its phase last changed."""

    async def before_create(self, store: Store, write: Write, obj: Obj) -> tuple[Obj, Undo]:
        """Change nothing: a new volume's first phase has been dated."""
        del store, write
        return obj, nothing

    async def before_update(
        self, store: Store, write: Write, new: Obj, old: Obj
    ) -> tuple[Obj, Undo]:
        """Date a new phase."""
        del old
        if write.subresource != "status":
            return new, nothing
        return with_transition_time(new, times.now_string(store.clock)), nothing

    async def after_write(self, store: Store, new: Obj | None, old: Obj | None) -> None:
        """Do nothing more."""
