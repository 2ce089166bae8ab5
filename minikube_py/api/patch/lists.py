"""Lists in a strategic merge patch: sets of values, and maps known by a merge key.

What is merged is put in order last: elements that the patch names follow the order of the patch,
the others that of the object, and the two sequences are zipped together by their old places.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minikube_py.api.object import Obj
from minikube_py.api.patch.directives import (
    DIRECTIVE,
    Node,
    bad_directive,
    without_directives,
    without_nulls,
)
from minikube_py.api.patch.errors import InapplicablePatchError, UnusablePatchError
from minikube_py.api.patch.go_text import go_name, go_text

Identity = tuple[str, Any]
"""What makes two elements the same: the value or the merge key, and its type, as in Go."""
Identify = Callable[[Any], Identity]
MergeMap = Callable[[Obj, Obj, Node], Obj]


def merge(old: Sequence[Any], new: Sequence[Any], node: Node, merge_map: MergeMap) -> Sequence[Any]:
    """Return the list of an object with that of a patch merged in."""
    if not old and not new:
        return old
    if not holds_maps(old, new):
        return in_order(list({_value(v): v for v in (*old, *new)}.values()), new, old, "")
    if not node.merge_key:
        kind = "struct" if node.items.kind == "object" else "map"
        raise UnusablePatchError(f"cannot merge lists without merge key for type {kind}")
    kept, wanted = _carry_out_directives(old, new, node.merge_key)
    merged = _merge_maps(kept, wanted, node, merge_map)
    return in_order(merged, wanted, kept, node.merge_key)


def delete_from(old: Sequence[Any], values: Sequence[Any]) -> Sequence[Any]:
    """Return a list of values without some."""
    gone = {_value(value) for value in values}
    return [value for value in old if _value(value) not in gone]


def check_order(new: Sequence[Any], order: Sequence[Any], key: str) -> None:
    """Raise unless the elements of the patch stand in `order` in the same sequence."""
    if not new or not order:
        return
    identify = _identify(key)
    wanted = [identify(e) for e in new if not (isinstance(e, Mapping) and DIRECTIVE in e)]
    places = (identify(place) for place in order)
    if not all(element in places for element in wanted):  # each search goes on where one ended
        raise UnusablePatchError(
            f"The order in patch list:\n{go_text(new)}\n doesn't match $setElementOrder list:\n"
            f"{go_text(order)}\n"
        )


def in_order(
    merged: Sequence[Any], wanted: Sequence[Any], before: Sequence[Any], key: str
) -> list[Any]:
    """Return the merged elements: those in `wanted` in its order, the others as in `before`."""
    identify = _identify(key)
    rank, place = _ranks(wanted, identify), _ranks(before, identify)
    elements = [(identify(element), element) for element in merged]
    named = [pair for pair in elements if pair[0] in rank]
    others = [pair for pair in elements if pair[0] not in rank]
    named.sort(key=lambda pair: rank[pair[0]])
    others.sort(key=lambda pair: place.get(pair[0], len(place)))
    return [element for _, element in _zip(others, named, place)]


Pair = tuple[Identity, Any]


def _zip(others: list[Pair], named: list[Pair], place: Mapping[Identity, int]) -> list[Pair]:
    """Interleave: what the patch leaves alone comes before what it came before in the object."""
    out: list[Pair] = []
    waiting = iter(others)
    other = next(waiting, None)
    for pair in named:
        at = place.get(pair[0], -1)
        while other is not None and place.get(other[0], at) < at:
            out.append(other)
            other = next(waiting, None)
        out.append(pair)
    return out if other is None else [*out, other, *waiting]


def _ranks(elements: Sequence[Any], identify: Identify) -> dict[Identity, int]:
    ranks: dict[Identity, int] = {}
    for rank, element in enumerate(elements):
        ranks.setdefault(identify(element), rank)
    return ranks


def _carry_out_directives(
    old: Sequence[Any], new: Sequence[Any], key: str
) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return the object's elements that stay, and those of the patch that are to be merged."""
    wanted = [element for element in new if DIRECTIVE not in element]
    kept, replace = old, False
    for element in new:
        match element.get(DIRECTIVE, ""):
            case "":
                continue
            case "delete":
                gone = _key_value(element, key)
                kept = [e for e in kept if key not in e or _key_value(e, key) != gone]
            case "replace":
                replace = True
            case "merge":
                raise UnusablePatchError("merging lists cannot yet be specified in the patch")
            case directive:
                raise bad_directive(directive, element)
    return (wanted, ()) if replace else (kept, wanted)


def _merge_maps(
    old: Sequence[Any], new: Sequence[Any], node: Node, merge_map: MergeMap
) -> list[Any]:
    merged = list(old)
    place = _ranks(merged, _identify(node.merge_key))
    for element in new:
        identity = _key_value(element, node.merge_key)
        at = place.get(identity)
        if at is None:
            place[identity] = len(merged)
            merged.append(without_directives(without_nulls(element)))
        else:
            merged[at] = merge_map(merged[at], element, node.items)
    return merged


def holds_maps(*lists: Sequence[Any]) -> bool:
    """Tell whether the elements are maps; all must be of one type, and none a list."""
    names = {go_name(element) for elements in lists for element in elements}
    if "[]interface {}" in names:
        raise InapplicablePatchError("lists of lists are not supported")
    if len(names) > 1:
        raise UnusablePatchError(f"list element types are not identical: {go_text(lists)}")
    return "map[string]interface {}" in names


def _identify(key: str) -> Identify:
    return (lambda element: _key_value(element, key)) if key else _value


def _key_value(element: Any, key: str) -> Identity:
    if not isinstance(element, Mapping):
        raise UnusablePatchError(
            f"expected a map[string]interface {{}}, but received a {go_name(element)}"
        )
    if key not in element:
        raise UnusablePatchError(
            f"map: {go_text(element)} does not contain declared merge key: {key}"
        )
    return _value(element[key])


def _value(value: Any) -> Identity:
    name = go_name(value)
    return name, value if isinstance(value, str | int | float) else go_text(value)
