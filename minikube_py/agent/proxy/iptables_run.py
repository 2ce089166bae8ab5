"""Carries out iptables rules: through iptables-restore, whichever back end it has."""

import asyncio
import logging
import shutil
from collections.abc import Sequence

from minikube_py.agent.nft import TIMEOUT_SECONDS, PacketFilterError
from minikube_py.agent.nft_elements import Element, Elements
from minikube_py.agent.proxy import conntrack, iptables, rules
from minikube_py.agent.proxy.chains import IPV4, IPV6, Family
from minikube_py.agent.proxy.fronts import Fronts
from minikube_py.agent.proxy.rules import ProxyConfig
from minikube_py.api.object import Key, Obj
from minikube_py.lib import programs
from minikube_py.lib.errors import StartError
from minikube_py.lib.programs import ProgramError

log = logging.getLogger(__name__)
PROGRAMS = {IPV4: "iptables", IPV6: "ip6tables"}
ERROR_MAX = 2000


class IptablesError(PacketFilterError):
    """The kernel or iptables refused a change."""


def require_iptables() -> None:
    """Make sure that the programs are there.

    Raises:
        StartError: they are not; names the package.

    """
    if any(shutil.which(f"{program}-restore") is None for program in PROGRAMS.values()):
        raise StartError("iptables-restore is missing; install the package iptables")


class IptablesRules:
    """The rules of one address family, in this process and in the kernel."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._fronts = Fronts()
        self._hairpins = Elements()
        self._elements: dict[Key, tuple[Element, ...]] = {}
        self._told: iptables.Chains = {}
        self._stale: set[conntrack.Stale] = set()
        self._changed = False
        self.is_full_needed = True
        self.is_suspect = False
        """Whether others may have changed our rules: they share their tables with everybody."""

    def set_config(self, config: ProxyConfig) -> None:
        """Take what services are derived with from now on."""
        self._config = config

    def set_service(self, key: Key, service: Obj | None, slices: Sequence[Obj]) -> None:
        """Derive a service anew; None takes it away."""
        elements = rules.derive(service, slices, self._config) if service is not None else ()
        old = self._elements.get(key, ())
        if elements == old:
            return
        self._changed = True
        self._stale.update(conntrack.plan(old, elements))
        self._fronts.update(key, elements)
        self._hairpins.update(key, [one for one in elements if one.container == "hairpin"])
        if elements:
            self._elements[key] = elements
        else:
            self._elements.pop(key, None)

    async def apply(self) -> None:
        """Tell the kernel what changed, or all where it is not known what it has.

        Raises:
            IptablesError: the kernel refused; the next call tells it all.

        """
        if self.is_suspect:
            await self._inspect()
        if not self._changed and not self.is_full_needed:
            return
        hairpins = {one.key.split(" . ")[0] for one in self._hairpins}
        wanted = await asyncio.to_thread(
            iptables.plan, self._fronts.current(), hairpins, self._config
        )
        program, was_full = PROGRAMS[self._config.family], self.is_full_needed
        old = iptables.known_chains(await _run(f"{program}-save")) if was_full else self._told
        self.is_full_needed = True
        text = iptables.changes(old, wanted)
        if text:
            await _run(f"{program}-restore", "--noflush", "-w", "5", stdin=text)
        if was_full:
            await _ensure_jumps(program)
        self._told, self._changed, self.is_full_needed = wanted, False, False
        self._hairpins.told()
        stale, self._stale = self._stale, set()
        if was_full:
            await conntrack.forget_stale(tuple(self._elements.values()), self._config.family)
        else:
            await conntrack.forget(sorted(stale))

    async def _inspect(self) -> None:
        """Find out whether the kernel still has what it was told."""
        self.is_suspect = False
        program = PROGRAMS[self._config.family]
        if not self.is_full_needed and not iptables.are_intact(
            await _run(f"{program}-save"), self._told
        ):
            log.warning("somebody changed our rules, putting them right program=%s", program)
            self.is_full_needed = True

    async def close(self) -> None:
        """Leave the rules in place: services go on while kpy is started anew."""


async def _ensure_jumps(program: str) -> None:
    for table, chain, rule in iptables.JUMPS:
        words = (program, "-w", "5", "-t", table)
        try:
            await _run(*words, "-C", chain, *rule.split())
        except IptablesError:
            await _run(*words, "-I", chain, *rule.split())


async def remove_rules(families: Sequence[Family] = (IPV4, IPV6)) -> None:
    """Take all rules away, where there are any."""
    for program in (PROGRAMS[family] for family in families):
        if shutil.which(f"{program}-save") is None:
            continue
        known = iptables.known_chains(await _run(f"{program}-save"))
        if not known:
            continue
        for table, chain, rule in iptables.JUMPS:
            if (table, rule.rpartition(" ")[2]) in known:
                try:
                    await _run(program, "-w", "5", "-t", table, "-D", chain, *rule.split())
                except IptablesError:
                    continue  # it had been removed before
        await _run(f"{program}-restore", "--noflush", "-w", "5", stdin=iptables.changes(known, {}))


async def _run(*command: str, stdin: str = "") -> str:
    """Run a program and return what it prints; raises IptablesError."""
    try:
        ended = await programs.run(*command, stdin=stdin, seconds=TIMEOUT_SECONDS)
    except ProgramError as error:
        raise IptablesError(str(error)) from error
    if ended.status != 0:
        raise IptablesError(ended.complaint)
    return ended.printed
