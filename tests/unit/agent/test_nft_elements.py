"""Elements are the union of what contributors claim; what was told and what changed gives it."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.nft_elements import Element, Elements
from minikube_py.api.object import Key

KEYS = [Key("a", name) for name in "xyz"]
CONTRIBUTION = st.dictionaries(
    st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(["k", "l", "m"])),
    st.sampled_from(["", "1", "2"]),
    max_size=5,
)
STEPS = st.lists(st.tuples(st.sampled_from(KEYS), CONTRIBUTION, st.booleans()), max_size=20)


def wanted(held: Mapping[Key, Mapping[tuple[str, str], str]]) -> set[Element]:
    """Of those who claim an element the first by key has it."""
    values: dict[tuple[str, str], str] = {}
    for key in sorted(held, reverse=True):
        values |= held[key]
    return {Element(*slot, value) for slot, value in values.items()}


@given(STEPS)
def test_differences_lead_to_what_contributors_claim(
    steps: list[tuple[Key, dict[tuple[str, str], str], bool]],
) -> None:
    elements, kernel = Elements(), set[Element]()
    held: dict[Key, dict[tuple[str, str], str]] = {}
    for key, contribution, is_told in steps:
        elements.update(key, [Element(*slot, value) for slot, value in contribution.items()])
        held[key] = contribution
        assert set(elements) == wanted(held)
        assert len(elements) == len(wanted(held))
        if is_told:
            gone, added = elements.difference()
            assert set(gone) <= kernel
            kernel = (kernel - set(gone)) | set(added)
            elements.told()
            assert not elements.is_changed
            assert kernel == wanted(held)


@given(STEPS)
def test_equal_states_are_equal_text_however_they_came_about(
    steps: list[tuple[Key, dict[tuple[str, str], str], bool]],
) -> None:
    one, other = Elements(), Elements()
    last = {key: contribution for key, contribution, _ in steps}
    for key, contribution, _ in steps:
        one.update(key, [Element(*slot, value) for slot, value in contribution.items()])
    for key in sorted(last, reverse=True):
        other.update(key, [Element(*slot, value) for slot, value in last[key].items()])
    assert list(one.texts("ip t")) == list(other.texts("ip t"))
