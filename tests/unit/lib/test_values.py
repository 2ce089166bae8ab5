"""Copies of values with other fields, and unique ids."""

import uuid
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from minikube_py.lib.values import changed, random_text, random_uid


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value."""

    x: int
    y: int = 0


def test_a_changed_value_is_what_replace_makes() -> None:
    point = Point(x=1, y=2)
    assert changed(point, y=3) == replace(point, y=3)
    assert point == Point(x=1, y=2)


def test_a_changed_value_is_frozen_as_well() -> None:
    with pytest.raises(FrozenInstanceError):
        changed(Point(x=1), y=3).y = 4  # type: ignore[misc]


def test_ids_are_uuids_of_version_4_and_all_different() -> None:
    ids = [random_uid() for _ in range(1000)]
    assert len(set(ids)) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)


def test_random_texts_have_the_wanted_letters_and_no_favourites() -> None:
    text = random_text("abc", 30_000)
    assert len(text) == 30_000
    assert all(9_000 < text.count(letter) < 11_000 for letter in "abc")
    assert random_text("abcdefgh", 20) != random_text("abcdefgh", 20)
