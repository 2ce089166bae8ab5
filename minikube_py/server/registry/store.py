"""The generic store: every write of every kind takes this one road.

default -> admission mutates -> prepare -> validate -> admission validates -> hook -> datastore.
Reads come from the watch cache. A writer who names no resourceVersion gets the change applied to
the newest object, however often others write meanwhile (bounded); one who names it gets a 409.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minikube_py.api import metadata, times
from minikube_py.api.core import NAMESPACES
from minikube_py.api.errors import (
    AlreadyExistsError,
    NotFoundError,
    ServerTimeoutError,
    ServiceUnavailableError,
)
from minikube_py.api.fields import FieldError
from minikube_py.api.item import Item
from minikube_py.api.object import Key, Obj, is_deleting, without
from minikube_py.api.resource import Resource
from minikube_py.datastore.history import AUTHOR
from minikube_py.datastore.kv import (
    Backend,
    DatastoreError,
    KeyExistsError,
    RevisionMismatchError,
)
from minikube_py.lib.clock import Clock
from minikube_py.lib.patience import patiently
from minikube_py.lib.values import changed, random_uid
from minikube_py.server.attributes import AdmissionPlugin
from minikube_py.server.registry import deletion
from minikube_py.server.registry.admitting import Admitting
from minikube_py.server.registry.cache import Cache, KindCache, stored
from minikube_py.server.registry.encoding import encode, with_revision
from minikube_py.server.registry.hooks import Hook, Undo, Write, nothing
from minikube_py.server.registry.ownership import tracked, with_old_times
from minikube_py.server.registry.refusals import (
    already_exists,
    check_name,
    check_resource_version,
    first_errors,
    invalid,
    mismatched_namespace,
    not_found,
    versioned_already,
)
from minikube_py.server.registry.written import (
    author_of,
    carry_metadata,
    complete,
    creating,
    is_stale,
    key_text,
    random_suffix,
    terminating,
)

RETRIES_MAX = 32
"""Tries of an unconditional change while others write the same object."""
GENERATED_NAME_TRIES_MAX = 8


@dataclass(frozen=True)
class Deleted:
    """What a DELETE did: the object as last seen, and whether it is gone."""

    item: Item
    gone: bool


class Store:
    """All objects of all kinds."""

    def __init__(
        self,
        backend: Backend,
        cache: Cache,
        *,
        clock: Clock,
        admission: Sequence[AdmissionPlugin] = (),
        hooks: Mapping[str, Hook] | None = None,
    ) -> None:
        self.backend = backend
        self.cache = cache
        self.clock = clock
        self.admission = Admitting(admission)
        self.hooks = dict(hooks or {})
        self.at_work: Callable[[], None] = lambda: None
        """Told of each write."""

    # Reading

    def kind(self, resource: Resource) -> KindCache:
        """Return the cache of a kind."""
        cache = self.cache.find(resource)
        if cache is None:
            raise NotFoundError("the server could not find the requested resource")
        return cache

    def served(self, resource: Resource, item: Item) -> Item:
        """Return an item of the kind's cache in the version of the resource."""
        if resource.storage is None or resource.convert is not None:
            return item
        return Item.from_object(resource.storage.from_storage(item.obj), item.fields)

    def find(self, resource: Resource, namespace: str, name: str) -> Item | None:
        """Return the stored item, or None; raises BadRequestError for what is no name at all."""
        check_name(name)
        return self.base(resource).item(Key(namespace if resource.namespaced else "", name))

    def base(self, resource: Resource) -> KindCache:
        """Return the cache of a kind as it is stored."""
        cache = self.cache.base(resource)
        if cache is None:
            raise NotFoundError("the server could not find the requested resource")
        return cache

    async def fresh(self, resource: Resource) -> None:
        """Make the cache of a kind show all that has been written, also in other versions.

        Raises:
            StatusError: a webhook is to convert it, and does not.

        """
        view = self.cache.view(resource)
        if view is not None:
            await view.fresh()

    def shown_revision(self, resource: Resource) -> int:
        """Return the revision up to which the cache of a kind shows everything."""
        view = self.cache.view(resource)
        return view.revision if view is not None and view.behind else self.cache.revision

    async def shown(self, resource: Resource, items: Sequence[Item]) -> Sequence[Item]:
        """Return stored items in the version of the resource, a webhook asked where need be."""
        view = self.cache.view(resource)
        if view is not None:
            return await view.items(items)
        return [self.served(resource, item) for item in items]

    async def read(self, resource: Resource, namespace: str, name: str) -> Item:
        """Return one item in the version of the resource; raises NotFoundError."""
        item = self.find(resource, namespace, name)
        if item is None:
            raise not_found(resource, name)
        return await self._shown(resource, item)

    async def _shown(self, resource: Resource, item: Item) -> Item:
        view = self.cache.view(resource)
        return self.served(resource, item) if view is None else await view.one(item)

    def get(self, resource: Resource, namespace: str, name: str) -> Item:
        """Return one item in the version of the resource; raises NotFoundError."""
        item = self.find(resource, namespace, name)
        if item is None:
            raise not_found(resource, name)
        return self.served(resource, item)

    # Writing

    async def create(self, write: Write, obj: Obj) -> Item:
        """Write a new object and return it as stored.

        Admission sees it as its maker wants it: without a generated name, a uid or a time.
        """
        write = _named(write, obj)
        obj = self._unidentified(write, obj)
        obj = await self.admission.admit(write, await self._tracked(write, obj, None), None)
        if write.resource.namespaced and obj["metadata"].get("namespace") != write.namespace:
            raise mismatched_namespace()
        generated = not obj["metadata"].get("name") and obj["metadata"].get("generateName")
        for _ in range(GENERATED_NAME_TRIES_MAX if generated else 1):
            named = self._identify(obj)
            try:
                return await self._create(_named(write, named), named)
            except AlreadyExistsError:
                if not generated:
                    raise
        raise AlreadyExistsError(
            f'{write.resource.group_resource} "{obj["metadata"]["generateName"]}" already exists, '
            "the server was not able to generate a unique name for the object",
            details=deletion.details_of(write.resource, obj["metadata"]["generateName"]),
        )

    async def _tracked(self, write: Write, new: Obj, old: Obj | None) -> Obj:
        """Return the object with its managed fields, which take long for thousands of keys."""
        now = self.clock.now()
        return await patiently(lambda: tracked(write, new, old, now))

    @staticmethod
    def _unidentified(write: Write, obj: Obj) -> Obj:
        """Return the object without what the server alone sets, in the namespace of the request."""
        given = obj["metadata"].items()
        kept = {key: value for key, value in given if key not in metadata.SET_ON_CREATE}
        if write.resource.namespaced:
            kept["namespace"] = write.namespace
        return {**obj, "metadata": kept}

    def _identify(self, obj: Obj) -> dict[str, Any]:
        """Give the object its name, uid and time stamp."""
        prepared = metadata.prepare_for_create(
            obj["metadata"],
            uid=random_uid(),
            now=times.now_string(self.clock),
            suffix="" if obj["metadata"].get("name") else random_suffix(),
        )
        version = str(prepared.pop("resourceVersion", ""))
        if version.isdigit() and int(version):
            prepared["resourceVersion"] = version  # refused in the end, as upstream's storage does
        return {**obj, "metadata": prepared}

    async def _create(self, write: Write, obj: Obj) -> Item:
        resource = write.resource
        obj = resource.prepare_for_create(obj)
        errors = await patiently(
            lambda: first_errors(
                metadata.validate_create(obj, resource, custom=resource.custom),
                self._validate_in_namespace(write, obj, None),
                resource.validate(obj, None),
            )
        )
        self._check(write, errors, obj)
        write.warnings.extend(resource.warn(obj, None))
        obj = complete(resource, obj)
        await self.admission.validate(write, obj, None)
        obj, undo = await self._before(write, obj, None)
        if write.dry_run:
            await undo()
            self._refuse_second(write, obj)
            return self._imagined(write, without(obj, "metadata.resourceVersion"), None)
        if "resourceVersion" in obj["metadata"]:
            await undo()
            raise versioned_already()
        try:
            item = await self._insert(write, obj)
        except BaseException:
            await undo()
            raise
        await self._after(write, item, None)
        return await self._shown(resource, item)

    async def update(
        self,
        write: Write,
        change: Callable[[Obj], Obj],
        *,
        create: Callable[[], Obj] | None = None,
    ) -> tuple[Item, bool]:
        """Change an object; return it and whether it was created.

        `change` gets the newest object in the version of the resource and returns the wanted one;
        a resourceVersion in what it returns must be the newest. `create` makes the object where
        there is none; None raises NotFoundError then.
        """
        for _ in range(RETRIES_MAX):
            item = self.find(write.resource, write.namespace, write.name)
            if item is None:
                if create is None:
                    raise not_found(write.resource, write.name)
                made = without(create(), "metadata.resourceVersion")
                return await self.create(creating(write), made), True
            try:
                return await self._update(write, item, change), False
            except RevisionMismatchError as error:
                await self._catch_up(write, error)
        raise ServerTimeoutError("the object changes too quickly; try again")

    async def _catch_up(self, write: Write, error: RevisionMismatchError) -> None:
        """Wait until the cache shows what another writer wrote meanwhile."""
        if error.current is None:
            await self.cache.reached(await self.backend.revision())
            if self.find(write.resource, write.namespace, write.name) is None:
                raise not_found(write.resource, write.name) from error
        else:
            await self.cache.reached(error.current.revision)

    async def _update(self, write: Write, item: Item, change: Callable[[Obj], Obj]) -> Item:
        resource = write.resource
        old = (await self._shown(resource, item)).obj
        wanted = change(old)
        check_resource_version(resource, wanted, old)
        wanted = await self._tracked(write, carry_metadata(wanted, old), old)
        new = await self.admission.admit(write, wanted, old)
        new = await self._prepare_update(write, carry_metadata(new, old), old)
        new = with_old_times(complete(resource, new, old), old)
        await self.admission.validate(write, new, old)
        new, undo = await self._before(write, new, old)
        if write.dry_run:
            await undo()
            return self._imagined(write, new, old)
        return await self._replace(write, item, new, old, undo)

    async def _replace(self, write: Write, item: Item, new: Obj, old: Obj, undo: Undo) -> Item:
        """Write the new state, or remove the object where nothing holds it any more."""
        resource = write.resource
        new = with_revision(new, item.revision)
        if deletion.is_done(new):
            await self._remove(write, item)
            return Item.from_object(new)
        if new == old and not is_stale(resource, item):
            await undo()
            return await self._shown(resource, item)
        try:
            written = await self._put(write, item, new)
        except BaseException:
            await undo()
            raise
        await self._after(write, written, old)
        return await self._shown(resource, written)

    async def delete(self, write: Write, options: Obj) -> Deleted:
        """Delete an object or mark it as being deleted."""
        for _ in range(RETRIES_MAX):
            item = self.find(write.resource, write.namespace, write.name)
            if item is None:
                raise not_found(write.resource, write.name)
            try:
                return await self._delete(write, item, options)
            except RevisionMismatchError as error:
                await self._catch_up(write, error)
        raise ServerTimeoutError("the object changes too quickly; try again")

    async def _delete(self, write: Write, item: Item, options: Obj) -> Deleted:
        resource = write.resource
        old = (await self._shown(resource, item)).obj
        deletion.check_preconditions(resource, old, options)
        await self.admission.admit_delete(write, old)
        await self.admission.validate(write, None, old)
        step = deletion.plan(resource, old, options, self.clock.now())
        if step.remove:
            if step.obj is not None and not write.dry_run:
                item = await self._put(write, item, step.obj)
            gone = item if write.dry_run else await self._remove(write, item)
            if resource.graceful_deletion:
                last = deletion.last_state(gone.obj, self.clock.now())
                return Deleted(Item.from_object(last), gone=True)
            last = with_revision(old, gone.revision)
            return Deleted(Item.from_object(last, item.fields), gone=True)
        marked = terminating(step.obj) if step.obj is not None else None
        if marked is None or write.dry_run:
            shown = Item.from_object(marked) if marked is not None else item
            return Deleted(shown, gone=False)
        written = await self._put(write, item, marked)
        return Deleted(await self._shown(resource, written), gone=False)

    # Steps

    async def connect(self, write: Write, obj: Obj) -> Obj:
        """Let admission see a CONNECT or the create of what is not stored; return it admitted."""
        admitted = await self.admission.admit(write, obj, None)
        await self.admission.validate(write, admitted, None)
        return admitted

    async def _prepare_update(self, write: Write, new: Obj, old: Obj) -> Obj:
        """Keep what this endpoint may not change, and check the rest."""
        if write.trusted:
            return new
        resource = write.resource
        sub = resource.subresource(write.subresource) if write.subresource else None
        prepare = (sub and sub.prepare_for_update) or resource.prepare_for_update
        new = prepare(new, old)
        validate = (sub and sub.validate) or resource.validate
        checks = sub.metadata_checks if sub is not None and sub.shares_object else None
        errors = await patiently(
            lambda: first_errors(
                metadata.validate_update(new, old, resource, custom=resource.custom, checks=checks),
                self._validate_in_namespace(write, new, old),
                validate(new, old),
            )
        )
        self._check(write, errors, new)
        if sub is None:
            write.warnings.extend(resource.warn(new, old))
        return new

    def _validate_in_namespace(
        self, write: Write, new: Obj, old: Obj | None
    ) -> Iterable[FieldError]:
        validate = write.resource.validate_in_namespace
        if validate is None:
            return ()
        found = self.find(NAMESPACES, "", write.namespace)
        return validate(new, old, found.labels if found is not None else {})

    @staticmethod
    def _check(write: Write, errors: Sequence[FieldError], obj: Obj) -> None:
        if errors:
            raise invalid(write.resource, obj["metadata"].get("name", ""), errors)

    async def _before(self, write: Write, new: Obj, old: Obj | None) -> tuple[Obj, Undo]:
        hook = self.hooks.get(write.resource.group_resource)
        if hook is None:
            return new, nothing
        if old is None:
            return await hook.before_create(self, write, new)
        return await hook.before_update(self, write, new, old)

    async def _after(self, write: Write, new: Item | None, old: Obj | None) -> None:
        hook = self.hooks.get(write.resource.group_resource)
        if hook is not None:
            await hook.after_write(self, new.obj if new is not None else None, old)

    def _imagined(self, write: Write, obj: Obj, old: Obj | None) -> Item:
        """Return the result of a dry run."""
        del write
        if old is not None:
            obj = with_revision(obj, int(old["metadata"]["resourceVersion"]))
        return Item.from_object(obj)

    # Datastore

    async def _insert(self, write: Write, obj: Obj) -> Item:
        kind, document, value = await self._stored_form(write, obj)
        AUTHOR.set(author_of(write))
        key = f"{kind.prefix}{key_text(document)}"
        try:
            return await self._commit(kind, document, value, self.backend.create(key, value))
        except KeyExistsError as error:
            await self.cache.reached(await self.backend.revision())
            self._refuse_second(write, obj)
            raise already_exists(write.resource, obj["metadata"]["name"]) from error

    def _refuse_second(self, write: Write, obj: Obj) -> None:
        """Raise where an object of that name is there."""
        name = obj["metadata"]["name"]
        there = self.find(write.resource, write.namespace, name)
        if there is not None:
            raise already_exists(write.resource, name, ending=is_deleting(there.obj))

    async def _put(self, write: Write, item: Item, obj: Obj) -> Item:
        kind, document, value = await self._stored_form(write, obj)
        AUTHOR.set(author_of(write))
        writing = self.backend.update(f"{kind.prefix}{item.key}", value, revision=item.revision)
        return await self._commit(kind, document, value, writing)

    async def _remove(self, write: Write, item: Item) -> Item:
        kind = self.base(write.resource)
        AUTHOR.set(author_of(write))
        deleting = self.backend.delete(f"{kind.prefix}{item.key}", revision=item.revision)
        with _refusing():
            revision = await deleting
        await self.cache.reached(revision)
        await self._after(write, None, item.obj)
        return Item.from_object(with_revision(item.obj, revision), item.fields)

    async def _stored_form(self, write: Write, obj: Obj) -> tuple[KindCache, Obj, bytes]:
        resource = write.resource
        document = obj
        if resource.convert is not None:
            document = (await resource.convert([obj], stored(resource).api_version))[0]
        elif resource.storage is not None:
            document = resource.storage.to_storage(obj)
        return self.base(resource), document, encode(document, resource)

    async def _commit(
        self, kind: KindCache, document: Obj, value: bytes, writing: Awaitable[int]
    ) -> Item:
        """Write, and return the item once every later reader will see it."""
        text = key_text(document)
        key = f"{kind.prefix}{text}"
        self.at_work()
        self.cache.writing(key, value, document)
        try:
            with _refusing():
                revision = await writing
            await self.cache.reached(revision)
        finally:
            self.cache.written(key, value)
        item = kind.find_previous(text)
        if item is not None and item.revision == revision:
            return item
        return kind.item_of(value, revision, document)


def _named(write: Write, obj: Obj) -> Write:
    """Return the write with the name of the object that it creates."""
    name = obj["metadata"].get("name") or ""
    return write if name == write.name else changed(write, name=name)


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell the client of a failing datastore; lost races are for the callers."""
    try:
        yield
    except (KeyExistsError, RevisionMismatchError):
        raise
    except DatastoreError as error:
        raise ServiceUnavailableError(f"the datastore refused the write: {error}") from error
