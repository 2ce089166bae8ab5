"""Service rules for kernels without nftables: chains for iptables-restore; the planning is pure.

A front has a chain; a service with affinity has one for each endpoint too. All names follow from
what they stand for, so a change is the chains whose rules differ, told in one transaction a table.

    nat     KPY-SERVICES -> the front's chain -> DNAT       KPY-POSTROUTING masquerades
    filter  KPY-FILTER turns away what has no endpoint       KPY-UNKNOWN what no service has
            KPY-INVALID drops what fits no connection
    mangle  KPY-GUARD keeps source ranges, KPY-LOCALHOST drops 127.0.0.0/8 from outside
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from minikube_py.agent.proxy.chains import IPV4, MASQUERADE_BIT
from minikube_py.agent.proxy.fronts import Served, Target
from minikube_py.agent.proxy.rules import REJECT, Front, ProxyConfig

Chains = Mapping[tuple[str, str], tuple[str, ...]]
"""Table and chain -> rules."""
PREFIX = "KPY-"
MARK = f"{MASQUERADE_BIT:#x}/{MASQUERADE_BIT:#x}"
LOCAL = "-m addrtype --dst-type LOCAL"
NEW = "-m conntrack --ctstate NEW"
JUMPS: Sequence[tuple[str, str, str]] = (
    ("nat", "PREROUTING", "-j KPY-SERVICES"),
    ("nat", "OUTPUT", "-j KPY-SERVICES"),
    ("nat", "POSTROUTING", "-j KPY-POSTROUTING"),
    ("filter", "INPUT", f"{NEW} -j KPY-FILTER"),
    ("filter", "FORWARD", f"{NEW} -j KPY-UNKNOWN"),
    ("filter", "FORWARD", f"{NEW} -j KPY-FILTER"),
    ("filter", "FORWARD", "-m conntrack --ctstate INVALID -j KPY-INVALID"),
    ("filter", "OUTPUT", f"! -o lo {NEW} -j KPY-UNKNOWN"),
    ("filter", "OUTPUT", f"{NEW} -j KPY-FILTER"),
    ("mangle", "PREROUTING", f"{NEW} -j KPY-GUARD"),
    ("mangle", "PREROUTING", "-j KPY-LOCALHOST"),
    ("mangle", "OUTPUT", f"{NEW} -j KPY-GUARD"),
)
"""Rules in the chains of everybody; each is put first: the last of a chain is looked at first."""


def plan(fronts: Mapping[Front, Served], hairpins: Iterable[str], config: ProxyConfig) -> Chains:
    """Return all chains; equal input, equal output."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for front, served in fronts.items():
        found |= {("nat", name): rules for name, rules in _nat_chains(front, served, config)}
    live = [(front, served) for front, served in fronts.items() if served.chain is not None]
    addressed = tuple(f"{_match(f)} -j {_name(f)}" for f, _ in live if f.address)
    masquerade = (
        f"-m mark ! --mark {MARK} -j RETURN",
        # Or the datagram that carries the packet to another node would be translated too.
        f"-j MARK --set-xmark 0x0/{MASQUERADE_BIT:#x}",
        "-j MASQUERADE --random-fully",
    )
    pins = (f"-s {ip} -d {ip} -m conntrack --ctstate DNAT -j MASQUERADE" for ip in sorted(hairpins))
    return found | {
        ("nat", "KPY-SERVICES"): (*addressed, f"{_local(config)} -j KPY-NODEPORTS"),
        ("nat", "KPY-NODEPORTS"): tuple(
            f"{_ports(f)} -j {_name(f)}" for f, _ in live if not f.address
        ),
        ("nat", "KPY-MARK"): (f"-j MARK --set-xmark {MARK}",),
        ("nat", "KPY-POSTROUTING"): (*pins, *masquerade),
        ("filter", "KPY-FILTER"): tuple(_refusals(fronts, config)),
        ("filter", "KPY-UNKNOWN"): tuple(
            f"-d {config.service_cidr} {protocol}-j REJECT --reject-with {answer}"
            for protocol, answer in (("-p tcp ", "tcp-reset"), ("", _unreachable(config)))
        ),
        ("filter", "KPY-INVALID"): tuple(
            # What fits no connection would reach the other end without translation, and reset it.
            f"{side} {config.cluster_cidr} -p tcp -j DROP"
            for side in ("-s", "-d")
        ),
        ("mangle", "KPY-GUARD"): tuple(_guards(fronts)),
        ("mangle", "KPY-LOCALHOST"): (
            f"-d {'127.0.0.0/8' if config.family is IPV4 else '::1/128'} ! -i lo -j DROP",
        ),
    }


def _nat_chains(
    front: Front, served: Served, config: ProxyConfig
) -> Iterator[tuple[str, tuple[str, ...]]]:
    chain = served.chain
    if chain is None:
        return
    seconds = chain.affinity_seconds
    mark = "-j KPY-MARK"
    if chain.kind == "e":
        anywhere, here = _name(front, "cluster"), _name(front, "local")
        origins = (f"-s {config.cluster_cidr}", "-m addrtype --src-type LOCAL")
        bound = (f"-j {here}",) if served.local else ()
        yield _name(front), (*(f"{origin} -j {anywhere}" for origin in origins), *bound)
        pods_stay = f"! -s {config.cluster_cidr} {mark}"
        yield anywhere, (pods_stay, *_choice(front, served.cluster, seconds))
        if served.local:
            yield here, tuple(_choice(front, served.local, seconds))
    else:
        head = mark if chain.kind == "x" else f"! -s {config.cluster_cidr} {mark}"
        yield _name(front), (head, *_choice(front, served.cluster, seconds))
    if seconds:
        for target in {*served.cluster, *served.local}:
            name = _name(front, str(target))
            yield name, (f"-m recent --name {name} --set {_dnat(front, target)}",)


def _choice(front: Front, targets: Sequence[Target], seconds: int) -> Iterator[str]:
    names = [_name(front, str(target)) for target in targets]
    if seconds:
        for name in names:
            yield f"-m recent --name {name} --rcheck --seconds {seconds} --reap -j {name}"
    for number, target in enumerate(targets):
        left = len(targets) - number
        chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        yield f"{chance}-j {names[number]}" if seconds else f"{chance}{_dnat(front, target)}"


def _local(config: ProxyConfig) -> str:
    """Match the addresses under which a node has its ports."""
    closed = config.family is IPV4 and not config.localhost
    return f"{LOCAL} ! -d 127.0.0.0/8" if closed else LOCAL


def _refusals(fronts: Mapping[Front, Served], config: ProxyConfig) -> Iterator[str]:
    for front, served in fronts.items():
        match = _match(front) if front.address else f"{_local(config)} {_ports(front)}"
        if served.chain is None:
            if served.verdict == REJECT:
                answer = "tcp-reset" if front.protocol == "TCP" else _unreachable(config)
                yield f"{match} -j REJECT --reject-with {answer}"
            elif served.verdict:
                yield f"{match} -j DROP"
        elif served.chain.kind == "e" and not served.local:
            yield f"{match} -j DROP"


def _guards(fronts: Mapping[Front, Served]) -> Iterator[str]:
    for front, served in fronts.items():
        if served.guarded:
            for network in served.admitted:
                yield f"-s {network} {_match(front)} -j RETURN"
            yield f"{_match(front)} -j DROP"


def _match(front: Front) -> str:
    return f"-d {front.address} {_ports(front)}"


def _ports(front: Front) -> str:
    protocol = front.protocol.lower()
    return f"-p {protocol} -m {protocol} --dport {front.port}"


def _dnat(front: Front, target: Target) -> str:
    protocol = front.protocol.lower()
    ip = f"[{target.ip}]" if ":" in target.ip else target.ip
    return f"-p {protocol} -m {protocol} -j DNAT --to-destination {ip}:{target.port}"


def _unreachable(config: ProxyConfig) -> str:
    return "icmp-port-unreachable" if config.family is IPV4 else "icmp6-port-unreachable"


def _name(front: Front, what: str = "") -> str:
    return f"{PREFIX}{hashlib.sha256(f'{front}{what}'.encode()).hexdigest()[:16].upper()}"


def changes(old: Mapping[tuple[str, str], tuple[str, ...] | None], new: Chains) -> str:
    """Return what brings the kernel from old chains to new ones; None is one of unknown rules."""
    lines: list[str] = []
    for table in sorted({table for table, _ in (*old, *new)}):
        fresh = [at for at in sorted(new) if at[0] == table and old.get(at) != new[at]]
        gone = [at for at in sorted(old) if at[0] == table and at not in new]
        if not fresh and not gone:
            continue
        lines.append(f"*{table}")
        lines += [f":{chain} - [0:0]" for _, chain in (*fresh, *gone)]
        lines += [f"-A {at[1]} {rule}" for at in fresh for rule in new[at]]
        lines += [f"-X {chain}" for _, chain in gone]
        lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)


def known_chains(saved: str) -> dict[tuple[str, str], None]:
    """Return our chains in what iptables-save prints."""
    found: dict[tuple[str, str], None] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(f":{PREFIX}"):
            found[table, line[1:].split()[0]] = None
    return found


def are_intact(saved: str, told: Chains) -> bool:
    """Tell whether iptables-save prints as many rules of ours as were told, and all jumps; pure.

    The words of rules are not compared, because programs print them in their own way.
    """
    counts: Counter[tuple[str, str]] = Counter()
    jumps: set[tuple[str, str, str]] = set()
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith("-A "):
            chain = line.split()[1]
            counts[table, chain] += chain.startswith(PREFIX)
            if not chain.startswith(PREFIX) and f"-j {PREFIX}" in line:
                jumps.add((table, chain, line.rpartition(" ")[2]))
    wanted = {(table, chain, rule.rpartition(" ")[2]) for table, chain, rule in JUMPS}
    are_all = known_chains(saved).keys() == told.keys() and wanted <= jumps
    return are_all and all(counts[at] == len(rules) for at, rules in told.items())
