"""Hands of queues."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.flowcontrol.dealing import deal, flow_hash


@given(st.integers(0, 2**64 - 1), st.integers(1, 128), st.integers(1, 10))
def test_a_hand_is_of_different_queues_that_are_there(entropy, deck, hand):
    dealt = deal(entropy, deck, hand)
    assert len(set(dealt)) == len(dealt) == min(hand, deck)
    assert all(0 <= card < deck for card in dealt)


def test_every_queue_is_dealt_about_as_often_as_the_others():
    hands = (deal(flow_hash("schema", str(user)), 16, 4) for user in range(4000))
    seen = Counter(card for hand in hands for card in hand)
    assert len(seen) == 16
    assert max(seen.values()) < 1.2 * min(seen.values())


def test_a_user_whose_name_is_no_text_is_a_flow_too():
    assert flow_hash("a", "\udcff") != flow_hash("a", "\udcfe")


def test_all_hands_of_a_small_deck_are_dealt():
    assert {frozenset(deal(n, 4, 2)) for n in range(12)} == {
        frozenset({a, b}) for a in range(4) for b in range(a)
    }


def test_flows_are_told_apart_by_schema_and_by_distinguisher():
    assert (
        len({flow_hash("a", "b"), flow_hash("a", "c"), flow_hash("ab", ""), flow_hash("", "ab")})
        == 4
    )
