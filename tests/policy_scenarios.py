"""What network policies mean, as a table: scenarios of upstream's netpol tests, and of our own.

Nine pods, `a`, `b` and `c` in each of the namespaces `x`, `y` and `z`, each serve ports 80 and 81
by TCP and UDP. A scenario is a sequence of steps; each has policies, maybe other labels, and says
for every pair of pods, port and protocol whether the one reaches the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NAMESPACES, NAMES, PORTS, PROTOCOLS = "xyz", "abc", (80, 81), ("TCP", "UDP")
PODS = tuple(f"{namespace}/{name}" for namespace in NAMESPACES for name in NAMES)


class Probe(NamedTuple):
    """One try: who calls whom, by what."""

    source: str
    target: str
    port: int
    protocol: str


PROBES = tuple(
    Probe(source, target, port, protocol)
    for source in PODS
    for target in PODS
    for port in PORTS
    for protocol in PROTOCOLS
)
Addresses = Mapping[str, str]
"""Pod -> IP."""
Policies = Callable[[Addresses], Sequence[dict[str, Any]]]
Allowed = Callable[[Probe], bool]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A state of the cluster, and who reaches whom in it."""

    policies: Policies
    allowed: Allowed
    """Not asked of a pod that calls itself, which nothing forbids."""
    namespace_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Beside `ns` and `kubernetes.io/metadata.name`."""
    pod_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Beside `pod`."""

    def expected(self) -> dict[Probe, bool]:
        """Return the truth of all probes."""
        return {one: one.source == one.target or self.allowed(one) for one in PROBES}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A row of the table."""

    name: str
    steps: tuple[Step, ...]


def policy(
    name: str, namespace: str, pods: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """Return a policy; `pods` is its selector."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": pods or {}, **spec},
    }


def labels(**wanted: str) -> dict[str, Any]:
    """Return a selector by labels."""
    return {"matchLabels": wanted}


def among(key: str, *values: str, operator: str = "In") -> dict[str, Any]:
    """Return a selector by an expression."""
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def ingress(
    name: str, namespace: str, pods: dict[str, Any] | None, *rules: dict[str, Any]
) -> dict[str, Any]:
    """Return a policy of what comes."""
    return policy(name, namespace, pods, ingress=list(rules), policyTypes=["Ingress"])


def egress(
    name: str, namespace: str, pods: dict[str, Any] | None, *rules: dict[str, Any]
) -> dict[str, Any]:
    """Return a policy of what goes."""
    return policy(name, namespace, pods, egress=list(rules), policyTypes=["Egress"])


def by_pods(**wanted: str) -> dict[str, Any]:
    """Return a peer in the namespace of the policy."""
    return {"podSelector": labels(**wanted)}


def by_namespaces(selector: dict[str, Any], pods: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a peer in selected namespaces."""
    return {"namespaceSelector": selector} | ({"podSelector": pods} if pods is not None else {})


def row(
    name: str, allowed: Allowed, *policies: dict[str, Any], also: Step | None = None
) -> Scenario:
    """Return a scenario of policies that no address occurs in, with a further step perhaps."""
    first = Step(policies=lambda _: policies, allowed=allowed)
    return Scenario(name=name, steps=(first, also) if also is not None else (first,))


def to(target: str, allowed: Allowed) -> Allowed:
    """Say that only what goes to some pods (`x/a`, or `x` for all of a namespace) is judged."""
    return lambda p: not p.target.startswith(target) or allowed(p)


def out_of(source: str, allowed: Allowed) -> Allowed:
    """Say that only what comes from some pods is judged."""
    return lambda p: not p.source.startswith(source) or allowed(p)


def never(_: Probe) -> bool:
    """Allow nothing."""
    return False


def always(_: Probe) -> bool:
    """Allow everything."""
    return True


def within(*names: str) -> Allowed:
    """Allow what comes from some pods or namespaces."""
    return lambda p: p.source.startswith(names)


def towards(*names: str) -> Allowed:
    """Allow what goes to some pods or namespaces."""
    return lambda p: p.target.startswith(names)


A = labels(pod="a")
TCP81 = {"ports": [{"protocol": "TCP", "port": 81}]}
TCP80 = {"ports": [{"protocol": "TCP", "port": 80}]}
DENY_IN, DENY_OUT = ingress("deny-in", "x", None), egress("deny-out", "x", None)
NAMED = {"ports": [{"protocol": "TCP", "port": "serve-81-tcp"}]}


def is_tcp(*ports: int) -> Allowed:
    """Allow some ports by TCP."""
    return lambda p: p.protocol == "TCP" and p.port in ports


def both(one: Allowed, other: Allowed) -> Allowed:
    """Allow what both allow."""
    return lambda p: one(p) and other(p)


def block(cidr: str, *holes: str) -> dict[str, Any]:
    """Return a peer by address."""
    return {"ipBlock": {"cidr": cidr, **({"except": list(holes)} if holes else {})}}


FROM_Y_A = {"from": [by_namespaces(labels(ns="y"), A)]}

SELECTORS = (
    row("default-deny-ingress", to("x", never), DENY_IN),
    row(
        "default-deny-all",
        lambda p: not p.source.startswith("x") and not p.target.startswith("x"),
        policy("deny-all", "x", policyTypes=["Ingress", "Egress"]),
    ),
    row(
        "traffic from pods within the server's namespace by PodSelector",
        to("x/a", within("x/b")),
        ingress("from-b", "x", A, {"from": [by_pods(pod="b")]}),
    ),
    row(
        "ingress traffic for a target",
        to("x", towards("x/a")),
        DENY_IN,
        ingress("open-a", "x", A, {}),
    ),
    row(
        "ingress from pods in all namespaces",
        always,
        ingress("from-all", "x", A, {"from": [by_namespaces({})]}),
    ),
    row(
        "traffic only from a different namespace by NamespaceSelector",
        to("x/a", within("y")),
        ingress("from-y", "x", A, {"from": [by_namespaces(labels(ns="y"))]}),
    ),
    row(
        "PodSelector with MatchExpressions",
        to("x/a", within("x/b")),
        ingress("from-b", "x", A, {"from": [{"podSelector": among("pod", "b")}]}),
    ),
    row(
        "NamespaceSelector with MatchExpressions",
        to("x/a", within("y")),
        ingress("from-y", "x", A, {"from": [by_namespaces(among("ns", "y"))]}),
    ),
    row(
        "PodSelector or NamespaceSelector",
        to("x/a", within("y", "x/b")),
        ingress("either", "x", A, {"from": [by_namespaces(labels(ns="y")), by_pods(pod="b")]}),
    ),
    row(
        "PodSelector and NamespaceSelector",
        to("x/a", within("y/b")),
        ingress("both", "x", A, {"from": [by_namespaces(labels(ns="y"), labels(pod="b"))]}),
    ),
    row(
        "several PodSelectors and NamespaceSelectors",
        to("x/a", within("y/b", "y/c", "z/b", "z/c")),
        ingress(
            "many",
            "x",
            A,
            {"from": [by_namespaces(among("ns", "x", operator="NotIn"), among("pod", "b", "c"))]},
        ),
    ),
    row(
        "any of several PodSelectors",
        to("x/a", within("x/b", "x/c")),
        ingress("any", "x", A, {"from": [by_pods(pod="b"), by_pods(pod="c")]}),
    ),
    row(
        "a pod of a different namespace", to("x/a", within("y/a")), ingress("y-a", "x", A, FROM_Y_A)
    ),
    row(
        "namespaces by their default label",
        to("x/a", within("y")),
        ingress(
            "y",
            "x",
            A,
            {"from": [by_namespaces({"matchLabels": {"kubernetes.io/metadata.name": "y"}})]},
        ),
    ),
    row(
        "namespaces by an expression on their default label",
        to("x/a", within("y", "z")),
        ingress(
            "not-x",
            "x",
            A,
            {"from": [by_namespaces(among("kubernetes.io/metadata.name", "x", operator="NotIn"))]},
        ),
    ),
    row(
        "pods of other namespaces are denied",
        to("x", within("x")),
        ingress("own", "x", None, {"from": [{"podSelector": {}}]}),
    ),
)
PORT_ROWS = (
    row(
        "ports",
        to("x/a", both(within("y"), is_tcp(81))),
        ingress("port", "x", A, {"from": [by_namespaces(labels(ns="y"))], **TCP81}),
    ),
    row(
        "a range of ports",
        to("x/a", is_tcp(80, 81)),
        ingress("range", "x", A, {"ports": [{"port": 79, "endPort": 81}, {"port": 80}]}),
    ),
    row(
        "a range that holds none of the ports",
        to("x/a", never),
        ingress("range", "x", A, {"ports": [{"port": 82, "endPort": 90}]}),
    ),
    row(
        "stacked policies with overlapping podSelectors",
        lambda p: (
            not p.target.startswith("x")
            or (p.source.startswith("y") and is_tcp(*((80, 81) if p.target == "x/a" else (81,)))(p))
        ),
        ingress("one", "x", A, {"from": [by_namespaces(labels(ns="y"))], **TCP80}),
        ingress("two", "x", None, {"from": [by_namespaces(labels(ns="y"))], **TCP81}),
    ),
    row("a named port", to("x/a", is_tcp(81)), ingress("named", "x", A, NAMED)),
    row(
        "a named port from a namespace",
        to("x/a", both(within("x"), is_tcp(81))),
        ingress("named", "x", A, {"from": [by_namespaces(labels(ns="x"))], **NAMED}),
    ),
    row("egress to a named port", out_of("x/a", is_tcp(81)), egress("named", "x", A, NAMED)),
    row(
        "a named port that nobody has",
        to("x/a", never),
        ingress("named", "x", A, {"ports": [{"port": "nobody-has-it"}]}),
    ),
    row(
        "any port of one protocol",
        to("x/a", is_tcp(80, 81)),
        ingress("tcp", "x", A, {"ports": [{"protocol": "TCP"}]}),
    ),
    row(
        "UDP only",
        to("x/a", lambda p: p.protocol == "UDP" and p.port == 81),
        ingress("udp", "x", A, {"ports": [{"protocol": "UDP", "port": 81}]}),
    ),
    row(
        "SCTP is not TCP",
        to("x/a", never),
        ingress("sctp", "x", A, {"ports": [{"protocol": "SCTP", "port": 81}]}),
    ),
    row(
        "a policy that allows SCTP isolates",
        to("x/a", is_tcp(80)),
        ingress("sctp", "x", A, {"ports": [{"protocol": "SCTP", "port": 81}, {"port": 80}]}),
    ),
)
DIRECTIONS = (
    row("allow-all", always, ingress("all", "x", None, {})),
    row("egress of some pods is denied", out_of("x/a", never), egress("none", "x", A)),
    row("egress of a namespace is denied", out_of("x", never), DENY_OUT),
    row(
        "ingress and egress together",
        lambda p: (
            to("x/a", both(within("y"), is_tcp(80)))(p)
            and out_of("x/a", both(towards("z"), is_tcp(81)))(p)
        ),
        policy(
            "together",
            "x",
            A,
            policyTypes=["Ingress", "Egress"],
            ingress=[{"from": [by_namespaces(labels(ns="y"))], **TCP80}],
            egress=[{"to": [by_namespaces(labels(ns="z"))], **TCP81}],
        ),
    ),
    row(
        "egress is denied although the server allows ingress",
        lambda p: out_of("y/a", towards("x/b"))(p) and to("x/a", within("y/a"))(p),
        ingress("from-y-a", "x", A, FROM_Y_A),
        egress("to-x-b", "y", A, {"to": [by_namespaces(labels(ns="x"), labels(pod="b"))]}),
    ),
    row(
        "egress to a pod of a different namespace",
        out_of("x/a", towards("y/a")),
        egress("to-y-a", "x", A, {"to": [by_namespaces(labels(ns="y"), A)]}),
    ),
    row(
        "several ingress policies, one of which allows all",
        always,
        DENY_IN,
        ingress("some", "x", None, {"from": [by_pods(pod="b")]}),
        ingress("all", "x", None, {}),
    ),
    row(
        "several egress policies, one of which allows all",
        always,
        DENY_OUT,
        egress("all", "x", None, {}),
    ),
    row(
        "ingress and egress independently",
        lambda p: to("x/a", within("x/b"))(p) and out_of("x/a", towards("y"))(p),
        ingress("in", "x", A, {"from": [by_pods(pod="b")]}),
        egress("out", "x", A, {"to": [by_namespaces(labels(ns="y"))]}),
    ),
    row(
        "types that are left out follow the rules",
        lambda p: to("x/a", never)(p) and out_of("x/a", towards("y"))(p),
        policy("guess", "x", A, egress=[{"to": [by_namespaces(labels(ns="y"))]}]),
    ),
)
UPDATES = (
    row(
        "a policy that is updated",
        to("x", never),
        DENY_IN,
        also=Step(
            policies=lambda _: [ingress("deny-in", "x", None, {"from": [by_pods(pod="b")]})],
            allowed=to("x", within("x/b")),
        ),
    ),
    row(
        "a policy that is deleted",
        to("x", never),
        DENY_IN,
        also=Step(policies=lambda _: [], allowed=always),
    ),
    row(
        "a namespace that gets a label",
        to("x/a", never),
        ingress("late", "x", A, {"from": [by_namespaces(labels(ns2="late"))]}),
        also=Step(
            policies=lambda _: [
                ingress("late", "x", A, {"from": [by_namespaces(labels(ns2="late"))]})
            ],
            allowed=to("x/a", within("y")),
            namespace_labels={"y": {"ns2": "late"}},
        ),
    ),
    row(
        "a pod that gets a label may call",
        to("x/a", never),
        ingress("late", "x", A, {"from": [by_namespaces(labels(ns="x"), labels(late="yes"))]}),
        also=Step(
            policies=lambda _: [
                ingress(
                    "late", "x", A, {"from": [by_namespaces(labels(ns="x"), labels(late="yes"))]}
                )
            ],
            allowed=to("x/a", within("x/b")),
            pod_labels={"x/b": {"late": "yes"}},
        ),
    ),
    row(
        "a pod that gets a label is closed",
        always,
        ingress("target", "x", labels(target="yes")),
        also=Step(
            policies=lambda _: [ingress("target", "x", labels(target="yes"))],
            allowed=to("x/a", never),
            pod_labels={"x/a": {"target": "yes"}},
        ),
    ),
)


def _cidrs(name: str, allowed: Allowed, policies: Policies) -> Scenario:
    return Scenario(name=name, steps=(Step(policies=policies, allowed=allowed),))


BLOCKS = (
    _cidrs(
        "egress to a block of addresses",
        out_of("x/a", towards("y/b")),
        lambda ips: [egress("cidr", "x", A, {"to": [block(f"{ips['y/b']}/32")]})],
    ),
    _cidrs(
        "a block of addresses with exceptions",
        out_of("x/a", lambda p: p.target != "y/b"),
        lambda ips: [egress("hole", "x", A, {"to": [block("0.0.0.0/0", f"{ips['y/b']}/32")]})],
    ),
    _cidrs(
        "an exception of one block in another",
        out_of("x/a", always),
        lambda ips: [
            egress("hole", "x", A, {"to": [block("0.0.0.0/0", f"{ips['y/b']}/32")]}),
            egress("all-of-it", "x", A, {"to": [block(f"{ips['y/b']}/32")]}),
        ],
    ),
    _cidrs(
        "ingress from a block, on a port",
        to("x/a", both(within("z/c"), is_tcp(80))),
        lambda ips: [ingress("cidr", "x", A, {"from": [block(f"{ips['z/c']}/32")], **TCP80})],
    ),
    _cidrs(
        "a block of another family means nobody",
        to("x/a", never),
        lambda _: [ingress("cidr", "x", A, {"from": [block("::/0")]})],
    ),
)
SCENARIOS: tuple[Scenario, ...] = (*SELECTORS, *PORT_ROWS, *DIRECTIONS, *UPDATES, *BLOCKS)
