import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import printing


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 120, "5h2m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (50 * 3600, "2d2h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (800 * 86400, "2y70d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_durations_look_like_kubectls(seconds: int, text: str) -> None:
    assert printing.human_duration(seconds) == text


@given(st.integers(0, 10**9))
def test_a_duration_is_short(seconds: int) -> None:
    assert 2 <= len(printing.human_duration(seconds)) <= 7


def test_a_long_list_shows_its_start_and_how_much_is_left() -> None:
    assert printing.some([]) == "<unset>"
    assert printing.some(["a", "b"]) == "a,b"
    assert printing.some(["a", "b", "c", "d", "e"]) == "a,b,c + 2 more..."


def test_labels_are_shown_in_order() -> None:
    assert printing.labels({"b": "2", "a": "1"}) == "a=1,b=2"
    assert printing.labels(None) == "<none>"
