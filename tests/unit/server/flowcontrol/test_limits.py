"""Shares of the server's seats, and lending."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minikube_py.server.bootstrap_flowcontrol import priority_levels
from minikube_py.server.flowcontrol.limits import Limits, Wanted, allot, lent, limits_of, smoothed

DEFAULTS = limits_of({level["metadata"]["name"]: level for level in priority_levels()}, 600)
AT_REST = Wanted(0, 0.0)


def test_the_default_levels_share_six_hundred_seats_as_upstream_shares_them():
    nominal = {name: limits.nominal for name, limits in DEFAULTS.items()}
    assert nominal == {
        "catch-all": 13,
        "exempt": 0,
        "global-default": 49,
        "leader-election": 25,
        "node-high": 98,
        "system": 74,
        "workload-high": 98,
        "workload-low": 245,
    }


@pytest.mark.parametrize(
    ("name", "lower", "widest"),
    [
        ("leader-election", 25, 4),
        ("workload-low", 24, 37),
        ("catch-all", 13, 0),
        ("system", 50, 12),
    ],
)
def test_what_a_level_keeps_and_how_wide_its_requests_are(name, lower, widest):
    assert (DEFAULTS[name].lower, DEFAULTS[name].widest) == (lower, widest)


def test_a_borrowing_limit_bounds_what_a_level_gets():
    level = {
        "metadata": {"name": "a"},
        "spec": {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": 10,
                "borrowingLimitPercent": 25,
                "lendablePercent": 50,
                "limitResponse": {"type": "Reject"},
            },
        },
    }
    limits = limits_of({"a": level}, 100)["a"]
    assert (limits.lower, limits.nominal, limits.upper, limits.first) == (50, 100, 125, 75)


bounds = st.builds(
    lambda nominal, lend, borrow: Limits(
        nominal, nominal - lend * nominal // 100, nominal + borrow, 1
    ),
    st.integers(1, 300),
    st.integers(0, 100),
    st.integers(0, 600),
)
demands = st.builds(Wanted, st.integers(0, 500), st.floats(0, 500))


@given(st.dictionaries(st.text(max_size=3), st.tuples(bounds, demands), min_size=1, max_size=8))
def test_lending_stays_within_the_bounds_of_each_level_and_makes_no_seats(both):
    limits = {name: pair[0] for name, pair in both.items()}
    seats = lent(limits, {name: pair[1] for name, pair in both.items()})
    assert all(limits[name].lower <= seats[name] <= limits[name].upper for name in limits)
    total = sum(limit.nominal for limit in limits.values())
    assert sum(seats.values()) <= total + len(seats) / 2 + 1  # each is rounded by itself


def test_a_busy_level_borrows_what_idle_levels_lend():
    wanted = dict.fromkeys(DEFAULTS, AT_REST) | {"global-default": Wanted(400, 400.0)}
    seats = lent(DEFAULTS, wanted)
    assert seats["global-default"] > 300
    assert seats["workload-low"] == DEFAULTS["workload-low"].lower
    assert seats["leader-election"] == 25  # lends nothing


def test_exempt_requests_leave_less_for_the_others():
    seats = lent(DEFAULTS, dict.fromkeys(DEFAULTS, AT_REST) | {"exempt": Wanted(300, 300.0)})
    assert seats["exempt"] == 300
    assert sum(seats.values()) <= 605
    wanted = dict.fromkeys(DEFAULTS, Wanted(600, 600.0))
    assert lent(DEFAULTS, wanted)["system"] == DEFAULTS["system"].lower


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=9
    ),
    st.floats(0, 1),
)
def test_an_allotment_is_in_proportion_wherever_no_bound_is_met(items, place):
    lows = [low for _, low, _ in items]
    highs = [low + more for _, low, more in items]
    targets = [low + above for above, low, _ in items]
    assume(sum(highs) > 0.01)
    total = sum(lows) + place * (sum(highs) - sum(lows))
    parts = allot(total, targets, lows, highs)
    assert sum(parts) == pytest.approx(total, abs=1e-6)
    free = [
        part / max(target, 0.001)
        for part, target, low, high in zip(parts, targets, lows, highs, strict=True)
        if low + 1e-6 < part < high - 1e-6
    ]
    assert all(one == pytest.approx(free[0], rel=1e-6) for one in free)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 20))
def test_smoothed_demand_rises_at_once_and_falls_slowly(before, average, deviation):
    now = smoothed(before, average, deviation)
    assert now >= average + deviation
    assert now >= 0.977 * before * 0.999
