"""Objects that cannot be changed: what holds the rule that nobody assigns into a shared object."""

from typing import Any, NoReturn


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("objects are immutable: use evolve() or without()")


class FrozenDict(dict[str, Any]):
    """A map that refuses every change."""

    __setitem__ = __delitem__ = update = setdefault = pop = popitem = clear = _refuse
    __ior__ = _refuse


class FrozenList(list[Any]):
    """A list that refuses every change."""

    __setitem__ = __delitem__ = append = extend = insert = pop = remove = _refuse
    clear = sort = reverse = __iadd__ = _refuse


def freeze(value: Any) -> Any:
    """Return a copy of a JSON value in which every map and list is frozen."""
    if isinstance(value, dict):
        return FrozenDict({key: freeze(inner) for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return FrozenList([freeze(inner) for inner in value])
    return value
