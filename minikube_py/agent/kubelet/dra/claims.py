"""The claims of this node's pods: prepared before a pod starts, given back when it has ended.

A claim may be shared: it is prepared for the first of its pods and given back after the last one.
What cannot be given back now is tried again when a driver comes, and later and later besides.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from minikube_py.agent.kubelet.dra.drivers import ClaimError, DraDrivers, Driver, ask_all
from minikube_py.agent.kubelet.dra.records import (
    FILE,
    Record,
    dump,
    load,
    new_record,
    with_answer,
)
from minikube_py.api.errors import StatusError
from minikube_py.api.object import Key, Obj, get, uid_of
from minikube_py.api.resource_k8s import RESOURCECLAIMS, pod_claims
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock
from minikube_py.lib.fsutil import write_atomic

log = logging.getLogger(__name__)
RETRY = Backoff(first_seconds=1.0, factor=2.0, max_seconds=60.0)
"""Upstream looks every minute."""


class Use(NamedTuple):
    """A claim that a container uses."""

    claim: str
    """Its name."""
    requests: tuple[str, ...]
    """Those of its requests that the container gets devices of; "" for all."""


class DraClaims:
    """The prepared claims of this node."""

    def __init__(self, root: Path, drivers: DraDrivers, client: Client, clock: Clock) -> None:
        """Take the kubelet's folder."""
        self._file = root / FILE
        self._drivers = drivers
        self._client = client
        self._clock = clock
        self._records = _restore(self._file)
        self._lock = asyncio.Lock()
        """Held over a whole change: a shared claim must not be given back while it is prepared."""
        self._look = asyncio.Event()
        self._look.set()
        drivers.on_register = self._look.set
        drivers.on_health = self._tell_health
        self.on_health: Callable[[str], None] = lambda _: None
        """Called with the uid of a pod whose devices are better or worse than before."""

    @property
    def records(self) -> list[Record]:
        """All claims of pods of this node."""
        return list(self._records.values())

    # --- before a pod starts ---

    async def prepare(self, pod: Obj) -> None:
        """Have all claims of a pod prepared; raises ClaimError."""
        names = [use.claim for use in _claims_of(pod)]
        if not names:
            return
        try:
            async with self._lock:
                await self._prepare(pod, names)
        except ClaimError as error:
            raise ClaimError(f"prepare dynamic resources: {error}") from None

    async def _prepare(self, pod: Obj, names: Iterable[str]) -> None:
        wanted = [await self._claim(pod, name) for name in dict.fromkeys(names)]
        drivers = {name: self._driver(name) for record in wanted for name in record.drivers}
        # Nothing is written down before all has been looked at: so a pod that cannot start can go.
        for record in wanted:
            known = self._records.get(record.key) or record
            if known.uid != record.uid:
                raise ClaimError(
                    f"old ResourceClaim with same name {record.key.name} and different UID"
                    f" {known.uid} still exists (previous pod force-deleted?!)"
                )
            self._records[record.key] = replace(known, pods=known.pods | {uid_of(pod)})
        await self._save()
        keys = [record.key for record in wanted]
        todo = [key for key in keys if not self._records[key].is_prepared]
        for name, driver in drivers.items():
            await self._ask_to_prepare(name, driver, [k for k in todo if name in self._uses(k)])
        for key in todo:
            self._records[key] = replace(self._records[key], is_prepared=True)
        await self._save()

    def _uses(self, key: Key) -> Iterable[str]:
        return self._records[key].drivers

    async def _ask_to_prepare(self, name: str, driver: Driver, keys: list[Key]) -> None:
        if not keys:
            return
        by_uid = {self._records[key].uid: key for key in keys}
        claims = [self._records[key].message for key in keys]
        answers = await ask_all(driver, "NodePrepareResources", claims)
        for uid, answer in answers.items():
            key = by_uid[uid]
            self._records[key] = with_answer(self._records[key], name, answer)

    async def _claim(self, pod: Obj, name: str) -> Record:
        """Return what is to be prepared for a claim; raises ClaimError where it must not be."""
        key = pod_claims.key_in(pod, name)
        try:
            claim = await self._client.get(RESOURCECLAIMS, key.name, key.namespace)
        except StatusError as error:
            raise ClaimError(f"fetch ResourceClaim {name}: {error}") from None
        generated = {one.claim for one in pod_claims.claims_of(pod) if one.template}
        try:
            if name in generated:
                pod_claims.check_owner(pod, claim)
        except pod_claims.ClaimError as error:
            raise ClaimError(str(error)) from None
        if not pod_claims.is_reserved_for(pod, claim):
            own = pod["metadata"]["name"]
            raise ClaimError(
                f"pod {own} ({uid_of(pod)}) is not allowed to use ResourceClaim"
                f" {name} ({uid_of(claim)})"
            )
        try:
            return new_record(claim)
        except ValueError as error:
            raise ClaimError(f"ResourceClaim {name}: {error}") from None

    def _driver(self, name: str) -> Driver:
        driver = self._drivers.get(name)
        if driver is None:
            raise ClaimError(f"DRA driver {name} is not registered")
        return driver

    # --- while it runs ---

    def cdi_devices(self, pod: Obj, container: Obj) -> list[str]:
        """Return the devices of a container, by their CDI names; raises ClaimError."""
        return [
            device
            for use, record in self.of(pod, container)
            for device in record.cdi_devices(use.requests)
        ]

    def of(self, pod: Obj, container: Obj) -> Iterator[tuple[Use, Record]]:
        """Yield the claims that a container uses; raises ClaimError for one that is unknown."""
        for use in container_claims(pod, container):
            key = pod_claims.key_in(pod, use.claim)
            if key not in self._records:
                raise ClaimError(
                    f"internal error: unable to get claim info for ResourceClaim {use.claim}"
                    f" in namespace {key.namespace}"
                )
            yield use, self._records[key]

    def health(self, pod: Obj, container: Obj) -> Iterator[tuple[str, list[dict[str, str]]]]:
        """Yield how well the devices of a container are: an entry of `resources.claims`, devices.

        Upstream shows of each device the first of its CDI names.
        """
        names = {one.entry: one.claim for one in pod_claims.claims_of(pod)}
        for entry in get(container, "resources.claims") or ():
            claim, request = names.get(entry["name"]), entry.get("request") or ""
            record = self._records.get(pod_claims.key_in(pod, claim)) if claim else None
            if record is None:
                continue
            found = {
                shown["resourceID"]: shown
                for driver, device in record.devices(request)
                for shown in (self._health(driver, device),)
            }
            name = f"claim:{entry['name']}/{request}" if request else f"claim:{entry['name']}"
            yield name, list(found.values())

    def _health(self, driver: str, device: Mapping[str, Any]) -> dict[str, str]:
        key = device.get("pool_name", ""), device.get("device_name", "")
        health, message = self._drivers.health.of(driver, key, self._clock.now().timestamp())
        cdi = device.get("cdi_device_ids")
        shown = {"resourceID": cdi[0] if cdi else f"{driver}/{key[0]}/{key[1]}", "health": health}
        return shown | ({"message": message} if message else {})

    def _tell_health(self, driver: str, keys: Collection[tuple[str, str]]) -> None:
        for record in self._records.values():
            devices = record.drivers.get(driver) or ()
            if any((one.get("pool_name"), one.get("device_name")) in keys for one in devices):
                for uid in record.pods:
                    self.on_health(uid)

    # --- when it has ended ---

    async def unprepare(self, uid: str) -> None:
        """Give back what only this pod used; raises ClaimError."""
        if not any(uid in record.pods for record in self._records.values()):
            return
        try:
            async with self._lock:
                await self._unprepare(uid)
        except ClaimError as error:
            raise ClaimError(f"unprepare dynamic resources: {error}") from None

    async def _unprepare(self, uid: str) -> None:
        used = {key: record for key, record in self._records.items() if uid in record.pods}
        last = {key: record for key, record in used.items() if len(record.pods) == 1}
        names = dict.fromkeys(name for record in last.values() for name in record.drivers)
        for name in names:
            claims = [record.message for record in last.values() if name in record.drivers]
            await ask_all(self._driver(name), "NodeUnprepareResources", claims)
        for key, record in used.items():
            if key in last:
                del self._records[key]
            else:
                self._records[key] = replace(record, pods=record.pods - {uid})
        await self._save()

    async def run(self, is_known: Callable[[str], bool]) -> None:
        """Give back, for ever, what pods had that are gone; begin when the pods are known."""
        failures = 0
        while True:
            await self._look.wait()
            self._look.clear()
            done = True
            for uid in {pod for record in self._records.values() for pod in record.pods}:
                if not is_known(uid):
                    done = await self._try_unprepare(uid) and done
            failures = 0 if done else failures + 1
            if not done:
                self._clock.call_later(RETRY.wait_seconds(failures), self._look.set)

    async def _try_unprepare(self, uid: str) -> bool:
        try:
            await self.unprepare(uid)
        except ClaimError as error:
            log.info("claims of a pod that is gone not given back pod=%s error=%s", uid, error)
            return False
        return True

    async def _save(self) -> None:
        await asyncio.to_thread(write_atomic, self._file, dump(self._records))


def _restore(file: Path) -> dict[Key, Record]:
    try:
        return load(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, KeyError, TypeError, ValueError) as error:
        log.warning("claims of pods are not readable file=%s error=%s", file, error)
        return {}


def _claims_of(pod: Obj) -> Iterator[Use]:
    """Yield the claims of a pod; raises ClaimError where one was not made yet."""
    for one in pod_claims.claims_of(pod):
        if one.claim is None:
            raise ClaimError(f'pod "{pod_claims.key_of_pod(pod)}": ResourceClaim not created yet')
        if one.claim:
            yield Use(one.claim, ("",))
    if extended := get(pod, "status.extendedResourceClaimStatus.resourceClaimName"):
        yield Use(extended, ())


def container_claims(pod: Obj, container: Obj) -> Iterator[Use]:
    """Yield the claims that a container uses, also those that stand for extended resources."""
    requests: dict[str, tuple[str, ...]] = {}
    for entry in get(container, "resources.claims") or ():
        requests[entry["name"]] = (*requests.get(entry["name"], ()), entry.get("request") or "")
    for one in pod_claims.claims_of(pod):
        if one.claim and one.entry in requests:
            yield Use(one.claim, requests[one.entry])
    status: Mapping[str, object] = get(pod, "status.extendedResourceClaimStatus") or {}
    mappings = [
        mapping["requestName"]
        for mapping in get(status, "requestMappings") or ()
        if mapping["containerName"] == container["name"]
    ]
    if mappings:
        yield Use(str(status["resourceClaimName"]), tuple(mappings))
