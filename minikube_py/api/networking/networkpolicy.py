"""Network policies: which traffic pods accept and send."""

from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import addresses, names, selectors, strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj, get
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource
from minikube_py.api.strategy import changed, each, with_absent

SPEC = Field("spec")
INGRESS, EGRESS = "Ingress", "Egress"
PROTOCOLS = ("TCP", "UDP", "SCTP")


def default(policy: Obj) -> Obj:
    """Fill in what the user left out."""
    policy = with_absent(policy, {"spec": {}})
    return changed(policy, "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"podSelector": {}})
    for key in ("ingress", "egress"):
        spec = changed(spec, key, lambda rules: each(rules, _default_rule))
    if not spec.get("policyTypes"):
        types = [INGRESS, EGRESS] if spec.get("egress") else [INGRESS]
        spec = {**spec, "policyTypes": types}
    return strategy.without_empty(spec, "ingress", "egress")


def _default_rule(rule: Obj) -> Obj:
    rule = changed(rule, "ports", lambda ports: each(ports, _default_port))
    return strategy.without_empty(rule, "ports", "from", "to")


def _default_port(port: Obj) -> Obj:
    return with_absent(port, {"protocol": "TCP"})


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated policy."""
    spec = new["spec"]
    yield from selectors.validate(spec["podSelector"], SPEC / "podSelector")
    for key, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(key) or ()):
            field = (SPEC / key)[index]
            for place, port in enumerate(rule.get("ports") or ()):
                yield from _validate_port(port, (field / "ports")[place])
            for place, peer in enumerate(rule.get(peers) or ()):
                yield from _validate_peer(peer, (field / peers)[place])
    yield from _validate_types(spec.get("policyTypes") or [], SPEC / "policyTypes")


def _validate_types(types: Sequence[str], field: Field) -> Iterator[FieldError]:
    if len(types) > 2:
        yield field.invalid(types, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(types):
        if kind not in {INGRESS, EGRESS}:
            yield field[index].unsupported(kind, {INGRESS, EGRESS})


def _validate_port(rule: Obj, field: Field) -> Iterator[FieldError]:
    protocol, port, last = rule.get("protocol"), rule.get("port"), rule.get("endPort")
    if protocol not in PROTOCOLS:
        yield (field / "protocol").unsupported(protocol, PROTOCOLS)
    end = field / "endPort"
    if port is None:
        if last is not None:
            yield end.invalid(last, "may not be specified when `port` is not specified")
    elif isinstance(port, int):
        yield from ((field / "port").invalid(port, text) for text in names.port_number(port))
        if last is not None:
            if last < port:
                yield end.invalid(port, "must be greater than or equal to `port`")
            yield from (end.invalid(last, text) for text in names.port_number(last))
    else:
        if last is not None:
            yield end.invalid(last, "may not be specified when `port` is non-numeric")
        yield from ((field / "port").invalid(port, text) for text in names.port_name(port))


def _validate_peer(peer: Obj, field: Field) -> Iterator[FieldError]:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if key in peer]
    for key in given:
        if key == "ipBlock":
            yield from _validate_block(peer[key], field / key)
        else:
            yield from selectors.validate(peer[key], field / key)
    if not given:
        yield field.required("must specify a peer")
    elif len(given) > 1 and "ipBlock" in given:
        yield field.forbidden("may not specify both ipBlock and another peer")


def _validate_block(block: Obj, field: Field) -> Iterator[FieldError]:
    cidr = block.get("cidr", "")
    if not cidr:
        yield (field / "cidr").required()
        return
    errors = tuple(addresses.validate_legacy_cidr(field / "cidr", cidr))
    yield from errors
    network = addresses.parse_cidr_sloppy(cidr)
    if errors or network is None:
        return
    for index, text in enumerate(block.get("except") or ()):
        place = (field / "except")[index]
        wrong = tuple(addresses.validate_legacy_cidr(place, text))
        yield from wrong
        inner = addresses.parse_cidr_sloppy(text)
        if wrong or inner is None:
            continue
        if not _is_strict_subset(inner, network):
            yield place.invalid(text, "must be a strict subset of `cidr`")


def _is_strict_subset(inner: addresses.Network, outer: addresses.Network) -> bool:
    return inner.network_address in outer and outer.prefixlen < inner.prefixlen


def warn(policy: Obj, _old: Obj | None) -> Iterator[str]:
    """Yield which address ranges are not written as they should be."""
    for key, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(get(policy, f"spec.{key}") or ()):
            for place, peer in enumerate(rule.get(peers) or ()):
                at = ((SPEC / key)[index] / peers)[place] / "ipBlock"
                yield from _warn_block(peer.get("ipBlock") or {}, at)


def _warn_block(block: Obj, field: Field) -> Iterator[str]:
    if block.get("cidr"):
        yield from addresses.warn_cidr(field / "cidr", block["cidr"])
    for index, text in enumerate(block.get("except") or ()):
        yield from addresses.warn_cidr((field / "except")[index], text)


def cells(policy: Obj) -> Sequence[Any]:
    """Return the cells of a policy's row."""
    return (
        policy["metadata"]["name"],
        selectors.format_object(get(policy, "spec.podSelector", {})),
        Age(get(policy, "metadata.creationTimestamp")),
    )


NETWORKPOLICIES = Resource(
    group="networking.k8s.io",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    schema="io.k8s.api.networking.v1.NetworkPolicy",
    columns=(NAME, Column("Pod-Selector"), AGE),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating(),
    prepare_for_update=strategy.updating("spec", keep=()),
    validate=validate,
    warn=warn,
)
