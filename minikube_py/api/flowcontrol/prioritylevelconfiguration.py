"""Priority levels: how many requests run at a time."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from minikube_py.api import strategy
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.flowcontrol.flowschema import validate_status
from minikube_py.api.object import Obj, get
from minikube_py.api.printing import NONE
from minikube_py.api.resource import AGE, NAME, Age, Column, Resource, Subresource
from minikube_py.api.strategy import changed, with_absent, with_empty

SPEC = Field("spec")
EXEMPT, LIMITED = "Exempt", "Limited"
REJECT, QUEUE = "Reject", "Queue"
QUEUES_MAX = 10_000_000
ENTROPY_BITS_MAX = 60
"""Bits that a hash gives to deal a hand of queues; more are needed than there are beyond it."""
_LIMITED = {"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {}}
_EXEMPT = {"nominalConcurrencyShares": 0, "lendablePercent": 0}
_QUEUING = {"handSize": 8, "queues": 64, "queueLengthLimit": 50}


def default(level: Obj) -> Obj:
    """Fill in what the user left out."""
    level = with_absent(level, {"spec": {}, "status": {}})
    return changed(level, "spec", _default_spec)


def _default_spec(spec: Obj) -> Obj:
    spec = with_absent(spec, {"type": ""})
    if spec["type"] == EXEMPT:
        spec = with_absent(spec, {"exempt": {}})
    spec = changed(spec, "exempt", lambda exempt: with_absent(exempt, _EXEMPT))
    return changed(spec, "limited", _default_limited)


def _default_limited(limited: Obj) -> Obj:
    limited = with_absent(limited, _LIMITED)
    return changed(limited, "limitResponse", _default_response)


def _default_response(response: Obj) -> Obj:
    response = with_absent(response, {"type": ""})
    return changed(response, "queuing", lambda queuing: with_empty(queuing, _QUEUING))


def validate(new: Obj, _old: Obj | None) -> Iterator[FieldError]:
    """Report what is wrong with a new or updated level."""
    spec, name = new["spec"], new["metadata"].get("name", "")
    kind, exempt, limited = spec["type"], spec.get("exempt"), spec.get("limited")
    if (name == "exempt") != (kind == EXEMPT):
        yield (SPEC / "type").invalid(kind, "type must be 'Exempt' if and only if name is 'exempt'")
    if kind == EXEMPT:
        if limited is not None:
            yield (SPEC / "limited").forbidden("must be nil if the type is not Limited")
        yield from _validate_shares(exempt or {}, SPEC / "exempt")
    elif kind == LIMITED:
        if exempt is not None:
            yield (SPEC / "exempt").forbidden("must be nil if the type is Limited")
        if limited is None:
            yield (SPEC / "limited").required("must not be empty when type is Limited")
        else:
            yield from _validate_limited(limited, SPEC / "limited")
    else:
        yield (SPEC / "type").unsupported(kind, frozenset({EXEMPT, LIMITED}))


def _validate_shares(part: Obj, field: Field) -> Iterator[FieldError]:
    shares, percent = part.get("nominalConcurrencyShares"), part.get("lendablePercent")
    if shares is not None and shares < 0:
        yield (field / "nominalConcurrencyShares").invalid(shares, "must be a non-negative integer")
    if percent is not None and not 0 <= percent <= 100:
        yield (field / "lendablePercent").invalid(percent, "must be between 0 and 100, inclusive")


def _validate_limited(limited: Obj, field: Field) -> Iterator[FieldError]:
    shares = limited["nominalConcurrencyShares"]
    if shares < 0:
        yield (field / "nominalConcurrencyShares").invalid(shares, "must be a non-negative integer")
    yield from _validate_response(limited["limitResponse"], field / "limitResponse")
    yield from _validate_shares({**limited, "nominalConcurrencyShares": None}, field)
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        yield (field / "borrowingLimitPercent").invalid(
            borrowing, "if specified, must be a non-negative integer"
        )


def _validate_response(response: Obj, field: Field) -> Iterator[FieldError]:
    kind, queuing = response["type"], response.get("queuing")
    if kind == REJECT:
        if queuing is not None:
            yield (field / "queuing").forbidden(
                "must be nil if limited.limitResponse.type is not Limited"
            )
    elif kind == QUEUE:
        if queuing is None:
            yield (field / "queuing").required(
                "must not be empty if limited.limitResponse.type is Limited"
            )
        else:
            yield from _validate_queuing(queuing, field / "queuing")
    else:
        yield (field / "type").unsupported(kind, frozenset({REJECT, QUEUE}))


def _validate_queuing(queuing: Obj, field: Field) -> Iterator[FieldError]:
    queues, hand = queuing["queues"], queuing["handSize"]
    if queuing["queueLengthLimit"] <= 0:
        yield (field / "queueLengthLimit").invalid(queuing["queueLengthLimit"], "must be positive")
    if queues <= 0:
        yield (field / "queues").invalid(queues, "must be positive")
    elif queues > QUEUES_MAX:
        yield (field / "queues").invalid(queues, f"must not be greater than {QUEUES_MAX}")
    if hand <= 0:
        yield (field / "handSize").invalid(hand, "must be positive")
    elif hand > queues:
        yield (field / "handSize").invalid(hand, f"should not be greater than queues ({queues})")
    elif _entropy_bits(queues, hand) > ENTROPY_BITS_MAX:
        yield (field / "handSize").invalid(
            hand,
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater "
            f"than {ENTROPY_BITS_MAX}",
        )


def _entropy_bits(queues: int, hand: int) -> int:
    """Return how many bits it takes to deal `hand` of `queues` cards."""
    return math.ceil(math.log2(queues) * hand)


def cells(level: Obj) -> Sequence[Any]:
    """Return the cells of a level's row."""
    spec: Obj = level["spec"]
    limited: Obj = spec.get("limited") or {}
    queuing: Obj = get(limited, "limitResponse.queuing", {})
    return (
        level["metadata"]["name"],
        spec.get("type", ""),
        limited.get("nominalConcurrencyShares", NONE),
        queuing.get("queues", NONE),
        queuing.get("handSize", NONE),
        queuing.get("queueLengthLimit", NONE),
        Age(get(level, "metadata.creationTimestamp")),
    )


PRIORITYLEVELCONFIGURATIONS = Resource(
    group="flowcontrol.apiserver.k8s.io",
    kind="PriorityLevelConfiguration",
    plural="prioritylevelconfigurations",
    namespaced=False,
    schema="io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration",
    subresources=(
        Subresource(
            name="status",
            shares_object=True,
            prepare_for_update=strategy.updating_status("spec", metadata=strategy.RESET_METADATA),
            validate=validate_status,
        ),
    ),
    columns=(
        NAME,
        Column("Type"),
        Column("NominalConcurrencyShares"),
        Column("Queues"),
        Column("HandSize"),
        Column("QueueLengthLimit"),
        AGE,
    ),
    cells=cells,
    default=default,
    prepare_for_create=strategy.creating({}),
    prepare_for_update=strategy.updating("spec"),
    validate=validate,
)
