"""The keys of a cluster that several servers share, kept in the datastore that they share.

Every server of a cluster signs with the same authorities and seals with the same keys. The first
one makes them (`bootstrap`) and publishes them; one that comes later needs the endpoint of the
datastore and the join token alone, as with k3s. What is stored is sealed with a random key that
the servers keep in `material.json`, and that key with the join token, so whoever can only read the
datastore learns nothing.

Each server remembers what it last had in common with the datastore. So it knows who changed
something since: a server that was renewed or rotated publishes, one that was not takes over. Where
both sides changed it starts on neither.
"""

import asyncio
import base64
import hashlib
import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from minikube_py.datastore.kv import Backend, KeyExistsError, KeyValue, RevisionMismatchError
from minikube_py.lib import inotify, pki
from minikube_py.lib.errors import StartError
from minikube_py.lib.fsutil import make_dir, read_if_there, write_atomic
from minikube_py.lib.tasks import Nursery, restarting
from minikube_py.server.bootstrap import AUTHORITIES
from minikube_py.server.encryption.files import CONFIGURATION
from minikube_py.server.join_tokens import EARLIER, TOKEN
from minikube_py.server.registry.encoding import PREFIX

log = logging.getLogger(__name__)
KEY = f"{PREFIX}kpy/material"
"""Below the prefix that servers follow, though it is no object."""
KEPT, COMING = "material.json", "material.next"
FILES = (
    *(f"tls/{name}{end}" for name in AUTHORITIES for end in (".key", "-chain.crt", ".crt")),
    "tls/service-account.key",
    CONFIGURATION,
    EARLIER,
)
"""Below the folder of the server; those that are not there are not shared."""
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
SCRYPT_COST = 2**15
"""Some 100 ms and 32 MB for each guess of a token."""
Contents = Mapping[str, bytes]


@dataclass(frozen=True)
class Kept:
    """What a server remembers: the key of the seal, and what was in common last."""

    key: str
    digest: str


async def join(backend: Backend, folder: Path, token: str, *, yields: bool = False) -> None:
    """Take over what the datastore has and this server has not; a first server does nothing.

    `token` is what `--token` says, "" for the one in the folder. A server that `yields` gives up
    its own, which nobody has seen yet, for what is stored.

    Raises:
        StartError: the token is missing or wrong, or both sides have changed.

    """
    _finish(folder)
    stored = await backend.get(KEY)
    if stored is None:
        return
    kept, contents = await asyncio.to_thread(_opened, stored, folder, token)
    own = read(folder)
    if yields or not own or digest(own) == kept.digest or digest(own) == digest(contents):
        _take_over(folder, contents, kept)
    elif digest(contents) != kept.digest:
        raise StartError(
            f"the keys in {folder} are not those of the cluster in the datastore; move the folder"
            " away to be a server of that cluster, or pass another --datastore-endpoint"
        )


async def publish(backend: Backend, folder: Path) -> bool:
    """Store what this server has; False where another server was first and `join` is needed."""
    contents = read(folder)
    secret = (read_if_there(folder / TOKEN) or b"").decode().strip().rpartition(":")[2]
    stored = await backend.get(KEY)
    known = _kept(folder)
    if stored is not None and known is None:
        return False
    if stored is not None and known is not None:
        same = await asyncio.to_thread(_is_published, stored, contents, known, secret)
        if same:
            _keep(folder, base64.b64decode(known.key), contents)
            return True
        if _is_newer(stored, known):
            return False
    key = base64.b64decode(known.key) if known else secrets.token_bytes(KEY_BYTES)
    value = await asyncio.to_thread(_sealed, contents, key, secret)
    try:
        if stored is None:
            await backend.create(KEY, value)
        else:
            await backend.update(KEY, value, revision=stored.revision)
    except (KeyExistsError, RevisionMismatchError):
        return False
    _keep(folder, key, contents)
    log.info("keys of the cluster published to the datastore files=%d", len(contents))
    return True


async def keep(backend: Backend, folder: Path) -> None:
    """Publish what is changed on this server, and take over what others publish; never returns."""

    async def changed_here() -> None:
        while _is_whole(folder) and not await publish(backend, folder):
            await join(backend, folder, "")

    async def changed_there() -> None:
        revision = await backend.revision()
        await join(backend, folder, "")  # what was published before the watch begins
        async for _ in backend.watch(KEY, after=revision):
            await join(backend, folder, "")

    async with Nursery("material") as nursery:
        nursery.start("taking over", restarting("cluster material", changed_there))
        await inotify.follow((folder, folder / "tls"), changed_here)


def read(folder: Path) -> dict[str, bytes]:
    """Return what a server has of what is shared, by the names of the files."""
    found = {name: read_if_there(folder / name) for name in FILES}
    return {name: data for name, data in found.items() if data is not None}


def _is_whole(folder: Path) -> bool:
    """Tell whether every authority fits its key: their files are replaced one after the other."""
    for name in AUTHORITIES:
        key_path = folder / f"tls/{name}.key"
        certificate = pki.load_certificate(folder / f"tls/{name}.crt")
        if certificate is None or not key_path.exists():
            return False
        key = pki.ensure_key(key_path)
        if certificate.public_key() != key.public_key():
            return False
    return True


def digest(contents: Contents) -> str:
    """Return what tells two contents apart."""
    return hashlib.sha256(_packed(contents)).hexdigest()


def _packed(contents: Contents) -> bytes:
    encoded = {name: base64.b64encode(data).decode() for name, data in sorted(contents.items())}
    return json.dumps(encoded).encode()


def _sealed(contents: Contents, key: bytes, secret: str) -> bytes:
    salt = secrets.token_bytes(SALT_BYTES)
    document = {
        "salt": base64.b64encode(salt).decode(),
        "key": _encrypted(_derived(secret, salt), key),
        "files": _encrypted(key, _packed(contents)),
    }
    return json.dumps({"kpyMaterial": 1, **document}).encode()


def _opened(stored: KeyValue, folder: Path, token: str) -> tuple[Kept, dict[str, bytes]]:
    """Return what is stored, with the key that this server knows or the token tells."""
    document = json.loads(stored.value)
    kept = _kept(folder)
    try:
        if kept is None:
            kept = Kept(base64.b64encode(_key_by(token, folder, document)).decode(), "")
        packed = json.loads(_decrypted(base64.b64decode(kept.key), document["files"]))
    except InvalidTag as error:
        raise StartError(
            "--token is not that of the cluster in the datastore; `kpy token` on one of its"
            " servers prints it"
        ) from error
    return kept, {name: base64.b64decode(data) for name, data in packed.items()}


def _key_by(token: str, folder: Path, document: Mapping[str, str]) -> bytes:
    text = token or (read_if_there(folder / TOKEN) or b"").decode().strip()
    if not text:
        raise StartError(
            "the datastore holds a cluster: pass its join token as --token; `kpy token` on one of"
            " its servers prints it"
        )
    salt = base64.b64decode(document["salt"])
    return _decrypted(_derived(text.rpartition(":")[2], salt), document["key"])


def _is_published(stored: KeyValue, contents: Contents, kept: Kept, secret: str) -> bool:
    """Tell whether what is stored is what we have, for whoever has the present token."""
    document = json.loads(stored.value)
    try:
        key = _decrypted(_derived(secret, base64.b64decode(document["salt"])), document["key"])
        same = _decrypted(key, document["files"]) == _packed(contents)
    except InvalidTag:
        return False
    return same and base64.b64encode(key).decode() == kept.key


def _is_newer(stored: KeyValue, kept: Kept) -> bool:
    """Tell whether somebody else published since this server looked."""
    packed = _decrypted(base64.b64decode(kept.key), json.loads(stored.value)["files"])
    return hashlib.sha256(packed).hexdigest() != kept.digest


def _take_over(folder: Path, contents: Contents, kept: Kept) -> None:
    """Write the files; what was begun is finished at the next start (`_finish`)."""
    if read(folder) == contents and kept.digest == digest(contents):
        return
    coming = {"key": kept.key, "files": json.loads(_packed(contents))}
    write_atomic(make_dir(folder) / COMING, json.dumps(coming).encode())
    _finish(folder)
    log.info("keys of the cluster taken from the datastore files=%d", len(contents))


def _finish(folder: Path) -> None:
    coming = read_if_there(folder / COMING)
    if coming is None:
        return
    document = json.loads(coming)
    contents = {name: base64.b64decode(data) for name, data in document["files"].items()}
    make_dir(folder / "tls")
    for name in FILES:
        if name in contents:
            write_atomic(folder / name, contents[name])
        else:
            (folder / name).unlink(missing_ok=True)
    _keep(folder, base64.b64decode(document["key"]), contents)
    (folder / COMING).unlink()


def _keep(folder: Path, key: bytes, contents: Contents) -> None:
    kept = Kept(base64.b64encode(key).decode(), digest(contents))
    write_atomic(folder / KEPT, json.dumps(asdict(kept)).encode())


def _kept(folder: Path) -> Kept | None:
    text = read_if_there(folder / KEPT)
    return Kept(**json.loads(text)) if text is not None else None


def _derived(secret: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=KEY_BYTES, n=SCRYPT_COST, r=8, p=1).derive(secret.encode())


def _encrypted(key: bytes, data: bytes) -> str:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, data, None)).decode()


def _decrypted(key: bytes, text: str) -> bytes:
    data = base64.b64decode(text)
    return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], None)
