"""Whatever the configuration becomes, values read as they were written and end sealed by it."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minikube_py.datastore.history import history_of
from minikube_py.datastore.kv import Backend, Event, RevisionMismatchError
from minikube_py.datastore.memory import MemoryBackend
from minikube_py.lib.clock import SystemClock
from minikube_py.lib.errors import StartError
from minikube_py.server.encryption.backend import UndecryptableError
from minikube_py.server.encryption.configuration import Configuration, Rule, Sealer, new_key
from minikube_py.server.encryption.files import Files
from minikube_py.server.encryption.history import SealedHistory
from minikube_py.server.encryption.keeper import IDENTITY, Keeper
from minikube_py.server.encryption.providers import MARK

A, B = "/registry/secrets/default/a", "/registry/configmaps/default/b"
PLAIN = b'{"kind":"Secret"}'


class DyingError(Exception):
    """The process ends here."""


class Frail:
    """A datastore whose process dies at its n-th write."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.writes_left = 1_000_000

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def update(self, key: str, value: bytes, *, revision: int, lease: int = 0) -> int:
        if self.writes_left <= 0:
            raise DyingError
        self.writes_left -= 1
        return await self._inner.update(key, value, revision=revision, lease=lease)


async def started(store: Backend, folder: Path) -> Keeper:
    keeper = Keeper(store, history_of(store), Files.of(folder), SystemClock())
    await keeper.start()
    return keeper


async def raw(store: Backend, key: str) -> bytes:
    found = await store.get(key)
    assert found is not None
    return found.value


def rotate(folder: Path, sealer: Sealer) -> None:
    files = Files.of(folder)
    current, _ = files.read()
    first = current.rules[0]
    files.write(Configuration((Rule(first.resources, (sealer, *first.sealers)),)))


async def test_a_fresh_server_encrypts_secrets_and_nothing_else(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    await keeper.backend.create(A, PLAIN)
    await keeper.backend.create(B, PLAIN)
    assert (await raw(store, A)).startswith(b"k8s:enc:aesgcm:v1:key1:")
    assert await raw(store, B) == PLAIN
    found = await keeper.backend.get(A)
    assert found is not None
    assert found.value == PLAIN
    assert (tmp_path / "encryption-config.yaml").stat().st_mode & 0o777 == 0o600


async def test_secrets_from_before_encryption_are_encrypted(tmp_path: Path) -> None:
    store = MemoryBackend()
    await store.create(A, PLAIN)
    keeper = await started(store, tmp_path)
    assert await raw(store, A) == PLAIN
    await keeper.converge()
    assert (await raw(store, A)).startswith(MARK)
    assert [s.scheme for s in Files.of(tmp_path).read()[0].rules[0].sealers] == ["aesgcm"]
    assert Files.of(tmp_path).read_state().finished


async def test_a_rotation_rewrites_and_then_drops_the_old_key(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    await keeper.backend.create(A, PLAIN)
    rotate(tmp_path, Sealer("aesgcm", new_key(["key1"])))
    await keeper.converge()
    assert (await raw(store, A)).startswith(b"k8s:enc:aesgcm:v1:key2:")
    assert [s.title for s in Files.of(tmp_path).read()[0].rules[0].sealers] == ["aesgcm key2"]
    state = Files.of(tmp_path).read_state()
    assert (state.finished, state.checked, state.rewritten) == (True, 1, 1)
    again = await started(store, tmp_path)
    found = await again.backend.get(A)
    assert found is not None
    assert found.value == PLAIN


async def test_encryption_can_be_switched_off_and_on(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    await keeper.backend.create(A, PLAIN)
    rotate(tmp_path, IDENTITY)
    await keeper.converge()
    assert await raw(store, A) == PLAIN
    rotate(tmp_path, Sealer("aesgcm", new_key()))
    await keeper.converge()
    assert (await raw(store, A)).startswith(MARK)


async def test_history_from_before_a_rotation_stays_readable(tmp_path: Path) -> None:
    keeper = await started(MemoryBackend(), tmp_path)
    await keeper.backend.create(A, PLAIN)
    rotate(tmp_path, Sealer("aesgcm", new_key(["key1"])))
    await keeper.converge()
    events: list[Event] = []
    async for batch in keeper.backend.watch("/registry/", after=0):
        events += batch
        if len(events) == 2:
            break
    assert [event.value for event in events] == [PLAIN, PLAIN]


async def test_a_write_under_way_is_waited_for_before_anything_is_looked_at(
    tmp_path: Path,
) -> None:
    class Slow(Frail):
        gate = asyncio.Event()

        async def create(self, key: str, value: bytes, *, lease: int = 0) -> int:
            await self.gate.wait()
            return await self._inner.create(key, value, lease=lease)

    memory = MemoryBackend()
    store = Slow(memory)
    keeper = await started(store, tmp_path)  # type: ignore[arg-type]
    writing = asyncio.create_task(keeper.backend.create(A, PLAIN))
    await asyncio.sleep(0)
    rotate(tmp_path, Sealer("aesgcm", new_key(["key1"])))
    converging = asyncio.create_task(keeper.converge())
    await asyncio.sleep(0)
    assert not converging.done()
    store.gate.set()
    await asyncio.gather(writing, converging)
    assert (await raw(memory, A)).startswith(b"k8s:enc:aesgcm:v1:key2:")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(writes=st.integers(0, 6), count=st.integers(1, 6))
async def test_a_process_that_dies_in_a_rotation_loses_nothing(
    writes: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, memory = tmp_path_factory.mktemp("keeper"), MemoryBackend()
    store = Frail(memory)
    keeper = await started(store, folder)  # type: ignore[arg-type]
    keys = [f"{A}{n}" for n in range(count)]
    for key in keys:
        await keeper.backend.create(key, key.encode())
    rotate(folder, Sealer("aesgcm", new_key(["key1"])))
    store.writes_left = writes
    if writes < count:
        with pytest.raises(DyingError):
            await keeper.converge()
    else:
        await keeper.converge()
    keeper = await started(memory, folder)
    assert [kv.value for kv in (await keeper.backend.list(A)).items] == [k.encode() for k in keys]
    await keeper.converge()
    for key in keys:
        assert (await raw(memory, key)).startswith(b"k8s:enc:aesgcm:v1:key2:")
    assert len(Files.of(folder).read()[0].rules[0].sealers) == 1


async def test_a_lost_configuration_is_told_before_anything_is_overwritten(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    await keeper.backend.create(A, PLAIN)
    (tmp_path / "encryption-config.yaml").unlink()
    with pytest.raises(StartError, match=r"holds encrypted secrets and .* is gone; bring it back"):
        await started(store, tmp_path)


async def test_a_value_of_an_unknown_key_is_named(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    await keeper.backend.create(A, PLAIN)
    Files.of(tmp_path).write(
        Configuration((Rule(("secrets",), (Sealer("aesgcm", new_key(["key1"])),)),))
    )
    other = await started(store, tmp_path)
    with pytest.raises(
        UndecryptableError, match=rf"{A} cannot be decrypted: .*k8s:enc:aesgcm:v1:key1"
    ):
        await other.backend.get(A)


async def test_a_broken_configuration_leaves_the_last_one_in_force(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    (tmp_path / "encryption-config.yaml").write_text("nonsense: true")
    await keeper.converge()
    await keeper.backend.create(A, PLAIN)
    assert (await raw(store, A)).startswith(MARK)


async def test_keys_of_the_users_own_file_are_left_there(tmp_path: Path) -> None:
    given, store = str(tmp_path / "mine.yaml"), MemoryBackend()
    files = Files.of(tmp_path, given)
    sealers = (Sealer("aesgcm", new_key()), IDENTITY)
    files.write(Configuration((Rule(("secrets",), sealers),)))
    await store.create(A, PLAIN)
    keeper = Keeper(store, store.history, files, SystemClock())
    await keeper.start()
    await keeper.converge()
    assert (await raw(store, A)).startswith(MARK)
    assert files.read()[0].rules[0].sealers == sealers


async def test_a_lost_race_shows_the_plain_value_of_the_winner(tmp_path: Path) -> None:
    keeper = await started(MemoryBackend(), tmp_path)
    await keeper.backend.create(A, PLAIN)
    with pytest.raises(RevisionMismatchError) as caught:
        await keeper.backend.update(A, PLAIN, revision=77)
    assert caught.value.current is not None
    assert caught.value.current.value == PLAIN


async def stored_versions(store: MemoryBackend, key: str) -> list[bytes]:
    return [one.value or b"" for one in await store.history.versions(key)]


async def test_a_rotation_leaves_no_old_version_that_the_old_key_opens(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    revision = await keeper.backend.create(A, b"first")
    await keeper.backend.update(A, b"second", revision=revision)
    rotate(tmp_path, Sealer("aesgcm", new_key(["key1"])))
    await keeper.converge()
    stored = await stored_versions(store, A)
    assert [value[:23] for value in stored] == [b"k8s:enc:aesgcm:v1:key2:"] * 3
    again = await started(store, tmp_path)
    past = SealedHistory(store.history, again.backend.keyring)
    assert [one.value for one in await past.versions(A)] == [b"second", b"second", b"first"]


async def test_what_was_plain_before_encryption_is_sealed_in_the_history(tmp_path: Path) -> None:
    store = MemoryBackend()
    await store.update(A, PLAIN, revision=await store.create(A, PLAIN))
    await store.delete(A, revision=0)
    keeper = await started(store, tmp_path)
    await keeper.converge()
    assert all(value.startswith(MARK) for value in (await stored_versions(store, A))[1:])


async def test_an_old_version_that_no_key_opens_is_emptied(tmp_path: Path) -> None:
    store = MemoryBackend()
    keeper = await started(store, tmp_path)
    revision = await store.create(A, MARK + b"aesgcm:v1:lost:" + bytes(40))
    sealed = await keeper.backend._seal(A, PLAIN)
    await store.update(A, sealed, revision=revision)
    rotate(tmp_path, Sealer("aesgcm", new_key(["key1"])))
    await keeper.converge()
    past = SealedHistory(store.history, keeper.backend.keyring)
    assert [one.value for one in await past.versions(A)] == [PLAIN, PLAIN, None]


async def test_a_process_that_dies_before_the_history_was_looked_through_does_it_later(
    tmp_path: Path,
) -> None:
    class Erased(MemoryBackend):
        erased = 0
        dies = True

        async def erase(self) -> None:
            if self.dies:
                raise DyingError
            self.erased += 1

    store = Erased()
    keeper = await started(store, tmp_path)
    await keeper.backend.create(A, PLAIN)
    rotate(tmp_path, Sealer("aesgcm", new_key(["key1"])))
    with pytest.raises(DyingError):
        await keeper.converge()
    assert len(Files.of(tmp_path).read()[0].rules[0].sealers) == 2
    assert not Files.of(tmp_path).read_state().finished
    store.dies = False
    for _ in range(2):
        await (await started(store, tmp_path)).converge()
    assert store.erased == 1
    assert len(Files.of(tmp_path).read()[0].rules[0].sealers) == 1
