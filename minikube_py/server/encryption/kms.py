"""Keys that a plugin keeps (KMS v2): it seals one seed, and every value has a key drawn from that.

The plugin is asked for the seed alone, so a write costs no call. The stored form is upstream's:
`k8s:enc:kms:v2:NAME:` and a message that holds the sealed value, the sealed seed and the id of
the plugin's key (https://kubernetes.io/docs/tasks/administer-cluster/kms-provider/). When that id
changes, what was sealed under the one before is no longer current.
"""

import contextlib
import os
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from minikube_py.lib.protowire import Codec, WireError
from minikube_py.server.encryption.configuration import KeyService
from minikube_py.server.encryption.providers import MARK, NONCE_BYTES, TAG_BYTES, SealError

SERVICE = "v2.KeyManagementService"
MESSAGES: Mapping[str, Mapping[str, Any]] = {
    "StatusRequest": {},
    "StatusResponse": {
        "version": [1, "string"],
        "healthz": [2, "string"],
        "key_id": [3, "string"],
    },
    "EncryptRequest": {"plaintext": [1, "bytes"], "uid": [2, "string"]},
    "EncryptResponse": {
        "ciphertext": [1, "bytes"],
        "key_id": [2, "string"],
        "annotations": [3, "map<string,bytes>"],
    },
    "DecryptRequest": {
        "ciphertext": [1, "bytes"],
        "uid": [2, "string"],
        "key_id": [3, "string"],
        "annotations": [4, "map<string,bytes>"],
    },
    "DecryptResponse": {"plaintext": [1, "bytes"]},
    "EncryptedObject": {
        "encryptedData": [1, "bytes"],
        "keyID": [2, "string"],
        "encryptedDEKSource": [3, "bytes"],
        "annotations": [4, "map<string,bytes>"],
        "encryptedDEKSourceType": [5, "int32"],
    },
}
PLAIN_KEY, SEED = 0, 1
"""Values of encryptedDEKSourceType."""
SEED_BYTES = INFO_BYTES = KEY_BYTES = 32
VERSIONS = ("v2", "v2beta1")
SEEDS_MAX = 1000
"""Opened seeds kept; there is one for each restart and each change of the plugin's key."""
KEY_ID_BYTES_MAX = SEALED_SEED_BYTES_MAX = 1024


class Plugin(Protocol):
    """How a plugin is called."""

    async def call(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return its answer; raises SealError where it gives none."""


@dataclass(frozen=True)
class _Current:
    """What is used to seal now."""

    key_id: str
    seed: bytes
    sealed: bytes
    annotations: Mapping[str, bytes]


class KeyServiceProvider:
    """Seals with keys drawn from a seed that a plugin keeps sealed."""

    def __init__(self, name: str, plugin: Plugin) -> None:
        self.mark = MARK + f"kms:v2:{name}:".encode()
        self.name = name
        self.problem: str | None = "not asked yet"
        """Why the plugin cannot be used, None when it can: shown by /readyz."""
        self._plugin = plugin
        self._codec = Codec(MESSAGES)
        self._current: _Current | None = None
        self._seeds: OrderedDict[tuple[bytes, str], bytes] = OrderedDict()

    @property
    def key_id(self) -> str:
        """The plugin's name of the key that seals now; "" before it was asked."""
        return self._current.key_id if self._current is not None else ""

    async def refresh(self) -> None:
        """Ask for the plugin's state; take a new seed where its key has changed.

        Raises:
            SealError: it is not there, not healthy, or answers what it may not.

        """
        try:
            status = await self._plugin.call("Status", {})
            _check_status(status)
            if self.key_id != status["key_id"]:
                self._current = await self._new_seed(status["key_id"])
        except SealError as error:
            self.problem = str(error)
            raise
        self.problem = None

    async def _new_seed(self, key_id: str) -> _Current:
        seed = os.urandom(SEED_BYTES)
        answer = await self._plugin.call("Encrypt", {"plaintext": seed, "uid": str(uuid.uuid4())})
        sealed = answer.get("ciphertext", b"")
        if answer.get("key_id") != key_id:
            raise SealError(f"KMS {self.name} names another key in Encrypt than in Status")
        if not 0 < len(sealed) <= SEALED_SEED_BYTES_MAX:
            raise SealError(f"KMS {self.name} returned a ciphertext of {len(sealed)} bytes")
        self._remember(sealed, key_id, seed)
        return _Current(key_id, seed, sealed, answer.get("annotations", {}))

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """Return mark and message; raises SealError."""
        if self._current is None:
            await self.refresh()
        current = self._current
        if current is None:
            raise SealError(f"KMS {self.name} has no key")
        info, nonce = os.urandom(INFO_BYTES), os.urandom(NONCE_BYTES)
        sealed = _cipher(_drawn(current.seed, info)).encrypt(nonce, plain, context)
        message = {
            "encryptedData": info + nonce + sealed,
            "keyID": current.key_id,
            "encryptedDEKSource": current.sealed,
            "annotations": current.annotations,
            "encryptedDEKSourceType": SEED,
        }
        return self.mark + self._codec.encode("EncryptedObject", message)

    async def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return the plain value; raises SealError."""
        message = self._message(sealed)
        seed = await self._seed_of(message)
        data, key = message.get("encryptedData", b""), seed
        if message.get("encryptedDEKSourceType", PLAIN_KEY) == SEED:
            key, data = _drawn(seed, data[:INFO_BYTES]), data[INFO_BYTES:]
        if len(data) < NONCE_BYTES + TAG_BYTES:
            raise SealError("the stored data is shorter than its nonce and tag")
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            plain: bytes = _cipher(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise SealError("the stored data is not what this key sealed") from error
        return plain

    def is_current(self, stored: bytes) -> bool:
        """Tell whether the plugin's newest key sealed the value."""
        if not stored.startswith(self.mark) or self._current is None:
            return False
        with contextlib.suppress(SealError):
            return bool(self._message(stored).get("keyID") == self._current.key_id)
        return False

    def _message(self, stored: bytes) -> dict[str, Any]:
        try:
            message = self._codec.decode("EncryptedObject", stored[len(self.mark) :])
        except WireError as error:
            raise SealError("the stored data is no message of KMS") from error
        if not (message.get("encryptedDEKSource") and message.get("keyID")):
            raise SealError("the stored data names no key of KMS")
        return message

    async def _seed_of(self, message: Mapping[str, Any]) -> bytes:
        sealed, key_id = message["encryptedDEKSource"], message["keyID"]
        known = self._seeds.get((sealed, key_id))
        if known is not None:
            return known
        request = {
            "ciphertext": sealed,
            "uid": str(uuid.uuid4()),
            "key_id": key_id,
            "annotations": message.get("annotations", {}),
        }
        seed: bytes = (await self._plugin.call("Decrypt", request)).get("plaintext", b"")
        self._remember(sealed, key_id, seed)
        return seed

    def _remember(self, sealed: bytes, key_id: str, seed: bytes) -> None:
        self._seeds[sealed, key_id] = seed
        if len(self._seeds) > SEEDS_MAX:
            self._seeds.popitem(last=False)


def _check_status(status: Mapping[str, Any]) -> None:
    version, health, key_id = (status.get(n, "") for n in ("version", "healthz", "key_id"))
    if version not in VERSIONS:
        raise SealError(f"expected KMS version v2, got {version}")
    if health != "ok":
        raise SealError(f"KMS is not healthy: {health}")
    if not 0 < len(key_id) <= KEY_ID_BYTES_MAX:
        raise SealError(f"KMS gave a key id of {len(key_id)} bytes")


def _drawn(seed: bytes, info: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
    from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand  # noqa: PLC0415

    return HKDFExpand(SHA256(), KEY_BYTES, info).derive(seed)


def _cipher(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)


class Socket:
    """A plugin behind a UNIX socket, over gRPC."""

    def __init__(self, service: KeyService) -> None:
        self._service = service
        self._channel: Any = None

    async def call(self, method: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return its answer; raises SealError where it gives none in time."""
        # kpy starts programs while calls are under way, but never forks itself.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
        import grpc.aio  # noqa: PLC0415 -- 13 MB that only key services need

        if self._channel is None:
            # gRPC's own names for paths of Linux' abstract sockets start with @.
            self._channel = grpc.aio.insecure_channel(
                self._service.endpoint.replace("unix:///@", "unix-abstract:"),
                options=[("grpc.enable_http_proxy", 0)],
            )
        codec = Codec(MESSAGES)
        invoke = self._channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=lambda message: codec.encode(f"{method}Request", message),
            response_deserializer=lambda data: codec.decode(f"{method}Response", data),
        )
        try:
            answer: dict[str, Any] = await invoke(request, timeout=self._service.timeout)
        except grpc.aio.AioRpcError as error:
            raise SealError(
                f"KMS {self._service.name} at {self._service.endpoint}: "
                f"{error.code().name}: {error.details()}"
            ) from None
        return answer

    async def close(self) -> None:
        """End the connection."""
        if self._channel is not None:
            await self._channel.close()
