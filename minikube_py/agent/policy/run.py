"""Keeps the packet filter of a node as the network policies say.

While there is no policy, nothing is: no table, and pods are not even followed. From the first one
on each pod contributes elements (ruleset.py); a change of a pod derives that pod anew, one of a
policy or of a namespace's labels all whom it may concern, and the difference goes to the kernel
in one transaction.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from minikube_py.agent import nft
from minikube_py.agent.nft_watch import TableWatch
from minikube_py.agent.policy import pods as policy_pods
from minikube_py.agent.policy.gate import Gate
from minikube_py.agent.policy.pods import Pod, pod_at, pod_of
from minikube_py.agent.policy.program import EMPTY, Policy, Program, assemble, compile_policy
from minikube_py.agent.policy.ruleset import TABLE, PolicyRuleset, derive
from minikube_py.agent.proxy.chains import IPV4, IPV6, Family
from minikube_py.api.core import NAMESPACES, PODS
from minikube_py.api.item import Item
from minikube_py.api.networking import NETWORKPOLICIES
from minikube_py.api.object import Key, Obj, get, key_of
from minikube_py.client.informer import Informer, Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.backoff import Backoff
from minikube_py.lib.clock import Clock

log = logging.getLogger(__name__)
SYNC_SECONDS = 0.05
"""Between two transactions."""
HEAL_SECONDS = 1.0
"""After rules were put right, so that a fight with another program stays slow."""
STARTING_MAX = 1000
"""Pods that are remembered before the API knows them; a node starts some at a time."""
RETRY = Backoff(first_seconds=1.0, max_seconds=60.0)
DERIVED_AT_ONCE = 50
"""Pods derived before others get their turn in the event loop; about 5 ms."""


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """What the enforcement of a node is told."""

    node_name: str
    families: Sequence[Family] = (IPV4, IPV6)
    """Those that pods have addresses of."""
    dns_addresses: tuple[str, ...] = ()
    """Where this node answers for the cluster's DNS itself."""


class FamilyRules:
    """The rules of one address family, in this process and in the kernel."""

    def __init__(self, family: Family, node_name: str) -> None:
        self._family = family
        self._node_name = node_name
        self._ruleset = PolicyRuleset(family)
        self._policies: dict[Key, Policy] = {}
        self._program: Program = EMPTY
        self.is_full_needed = True

    def set_policy(self, key: Key, policy: Item | None) -> None:
        """Take a policy, or None where it is gone; `assemble` makes it count."""
        if policy is None:
            self._policies.pop(key, None)
        else:
            self._policies[key] = compile_policy(policy.obj, self._family)

    def assemble(self) -> None:
        """Take the policies as they are now; every pod is to be set again after it."""
        self._program = assemble(self._policies)
        self._ruleset.set_program(self._program)

    def set_pod(self, key: Key, pod: Pod | None, namespace_labels: dict[str, str]) -> None:
        """Derive a pod anew; None takes it away."""
        if pod is None:
            self._ruleset.update(key, None)
            return
        found = derive(pod, namespace_labels, self._program, self._node_name, self._family)
        self._ruleset.update(key, found)

    async def apply(self) -> None:
        """Tell the kernel what changed, or all where it is not known what it has.

        Raises:
            NftError: the kernel refused; the next call tells it all.

        """
        if self.is_full_needed:
            text = self._ruleset.full()
        elif self._ruleset.is_changed:
            text = self._ruleset.changes()
        else:
            return
        self.is_full_needed = True
        await nft.apply(text)
        self.is_full_needed = False
        self._ruleset.told()


class Enforcement:
    """The policies of the cluster, kept in rules for the pods of this node."""

    def __init__(
        self, settings: PolicySettings, policies: Informer, namespaces: Informer, pods: Informer
    ) -> None:
        self._policies = policies
        self._namespaces = namespaces
        self._pods = pods
        self._dirty_policies: set[Key] = set()
        self._dirty_pods: set[Key] = set()
        self._changed = asyncio.Event()
        self._healing = False
        self._families = [FamilyRules(one, settings.node_name) for one in settings.families]
        self._standing: dict[Key, Pod] = {}
        """What stands for pods that the API does not have."""
        if settings.dns_addresses:
            self._standing = dict([policy_pods.dns_pod(settings.dns_addresses)])
        self._starting: OrderedDict[Key, Pod] = OrderedDict()
        """Pods of this node whose addresses the API does not know yet."""
        self._waiting: list[asyncio.Future[None]] = []
        """For the next transaction."""
        self.watch = TableWatch((TABLE,), self._tampered)

    async def admit(self, pod: Obj, ips: Sequence[str]) -> None:
        """Return once the rules of a pod that has these addresses stand."""
        key = key_of(pod)
        self._starting[key] = pod_at(pod, ips)
        if len(self._starting) > STARTING_MAX:
            self._starting.popitem(last=False)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._mark_pods([key])
        await done

    def policy_changed(self, old: Item | None, new: Item | None) -> None:
        """Note a change of a policy."""
        self._dirty_policies.update(item.key for item in (old, new) if item is not None)
        self._changed.set()

    def namespace_changed(self, old: Item | None, new: Item | None) -> None:
        """Note a change of a namespace; its labels count for all pods in it."""
        if old is not None and new is not None and old.labels == new.labels:
            return
        name = next(item.key.name for item in (new, old) if item is not None)
        standing = (key for key, pod in self._standing.items() if pod.namespace == name)
        self._mark_pods((*(item.key for item in self._pods.items(name)), *standing))

    def pod_changed(self, old: Item | None, new: Item | None) -> None:
        """Note a change of a pod."""
        key = next(item.key for item in (new, old) if item is not None)
        before, after = (item.derived(pod_of) if item else None for item in (old, new))
        starting = self._starting.get(key)
        if starting is not None and (new is None or _is_known(new, after, starting)):
            del self._starting[key]
            self._mark_pods([key])
        if before != after:
            self._mark_pods([key])

    def _mark_pods(self, keys: Iterable[Key]) -> None:
        self._dirty_pods.update(keys)
        if self._dirty_pods:
            self._changed.set()

    def _tampered(self) -> None:
        log.warning("somebody changed our rules, putting them right table=%s", TABLE)
        self._healing = True
        for family in self._families:
            family.is_full_needed = True
        self._changed.set()

    async def run(self) -> None:
        """Carry out changes as they come, for as long as there is a policy."""
        try:
            await self._run()
        finally:
            _wake(self._waiting)

    async def _run(self) -> None:
        failures = 0
        while self._policies.keys():
            self._changed.clear()
            self._healing, was_healing = False, self._healing
            try:
                await self._sync()
                failures = 0
            except nft.NftError as error:
                failures += 1
                log.warning("policies refused, trying again failures=%d error=%s", failures, error)
            await asyncio.sleep(HEAL_SECONDS if was_healing else SYNC_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY.wait_seconds(failures) if failures else None):
                    await self._changed.wait()

    async def _sync(self) -> None:
        policies, self._dirty_policies = self._dirty_policies, set()
        if policies:
            for family in self._families:
                for key in sorted(policies):
                    family.set_policy(key, self._policies.item(key))
                family.assemble()
            self._dirty_pods.update(self._pods.keys(), self._standing)
        dirty, self._dirty_pods = self._dirty_pods, set()
        waiting, self._waiting = self._waiting, []
        for number, key in enumerate(sorted(dirty), 1):
            self._derive(key)
            if number % DERIVED_AT_ONCE == 0:
                await asyncio.sleep(0)
        await self._apply(waiting)
        log.debug("policies applied policies=%d pods=%d", len(policies), len(dirty))

    async def _apply(self, waiting: list[asyncio.Future[None]]) -> None:
        try:
            async with self.watch.paused():
                for family in self._families:
                    await family.apply()
        except nft.NftError:
            self._waiting += waiting
            raise
        _wake(waiting)

    def _derive(self, key: Key) -> None:
        item = self._pods.item(key)
        pod = self._standing.get(key) or self._starting.get(key)
        if pod is None and item is not None:
            pod = item.derived(pod_of)
        namespace = self._namespaces.item(Key("", key.namespace))
        labels = dict(namespace.labels) if namespace is not None else {}
        for family in self._families:
            family.set_pod(key, pod, labels)


async def run_network_policies(
    client: Client, informers: Informers, settings: PolicySettings, clock: Clock, gate: Gate
) -> None:
    """Enforce network policies on this node; runs until it is cancelled.

    The rules stay when this ends, so that pods stay isolated while kpy is started anew.
    """
    policies = informers.get(NETWORKPOLICIES)
    await policies.wait_synced()
    while True:
        if not policies.keys():
            await remove_rules()
            await _first_of(policies)
        async with Informers(client, clock) as own:
            namespaces, pods = own.get(NAMESPACES), own.get(PODS)
            await own.synced((NAMESPACES, PODS))
            enforcement = Enforcement(settings, policies, namespaces, pods)
            subscriptions: tuple[tuple[Informer, Callable[..., None]], ...] = (
                (namespaces, enforcement.namespace_changed),
                (pods, enforcement.pod_changed),
                (policies, enforcement.policy_changed),
            )
            with contextlib.ExitStack() as stack:
                for informer, handler in subscriptions:
                    stack.callback(informer.subscribe(handler))
                stack.enter_context(enforcement.watch.listening())
                stack.callback(setattr, gate, "enforcement", None)
                gate.enforcement = enforcement
                await enforcement.run()


def _is_known(item: Item, known: Pod | None, starting: Pod) -> bool:
    """Tell whether the API has caught up with a pod that was starting."""
    if known is None:
        return get(item.obj, "status.phase") in policy_pods.OVER
    return known.ips == starting.ips


def _wake(waiting: Iterable[asyncio.Future[None]]) -> None:
    for done in waiting:
        if not done.done():
            done.set_result(None)


async def _first_of(policies: Informer) -> None:
    """Wait until there is a policy."""
    came = asyncio.Event()
    unsubscribe = policies.subscribe(lambda _old, new: came.set() if new is not None else None)
    try:
        await came.wait()
    finally:
        unsubscribe()


async def remove_rules() -> None:
    """Take all rules away; costs one run of a program where there are none."""
    tables = [f"{family.table} {TABLE}" for family in (IPV4, IPV6)]
    await nft.apply("".join(f"table {table}\ndelete table {table}\n" for table in tables))
