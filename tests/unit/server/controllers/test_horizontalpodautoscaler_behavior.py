"""How fast an autoscaler goes: policies, windows, and the laws that hold whatever they say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.controllers.horizontalpodautoscaler_behavior import (
    MESSAGES,
    History,
    Moment,
    Range,
    down_limit,
    step,
    up_limit,
)

NOW = 10_000.0


def policy(kind: str, value: int, seconds: int = 60) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": seconds}


def rules(*policies: dict[str, Any], select: str = "Max", window: int | None = 0) -> dict[str, Any]:
    made: dict[str, Any] = {"selectPolicy": select, "policies": list(policies)}
    return made if window is None else {**made, "stabilizationWindowSeconds": window}


def behavior(**parts: Any) -> dict[str, Any]:
    fast = rules(policy("Percent", 100, 15))
    return {"scaleUp": parts.get("up", fast), "scaleDown": parts.get("down", fast)}


PODS, PERCENT = policy("Pods", 4), policy("Percent", 50)


@pytest.mark.parametrize(
    ("select", "policies", "limit"),
    [("Max", (PODS, PERCENT), 15), ("Min", (PODS, PERCENT), 14), ("Max", (PODS,), 14),
     ("Disabled", (PODS,), 10), ("Max", (policy("Percent", 1),), 11)],
)  # fmt: skip
def test_policies_limit_a_step_up(select: str, policies: Any, limit: int) -> None:
    assert up_limit(10, rules(*policies, select=select), History(), NOW) == limit


@pytest.mark.parametrize(
    ("select", "policies", "limit"),
    [("Max", (PODS, PERCENT), 5), ("Min", (PODS, PERCENT), 6), ("Disabled", (PODS,), 10)],
)
def test_policies_limit_a_step_down(select: str, policies: Any, limit: int) -> None:
    assert down_limit(10, rules(*policies, select=select), History(), NOW) == limit


def test_what_was_done_within_the_period_counts() -> None:
    done = History(ups=(Moment(NOW - 30, 3), Moment(NOW - 90, 5)), downs=(Moment(NOW - 10, 1),))
    assert up_limit(10, rules(PODS), done, NOW) == 10 - 3 + 1 + 4
    assert down_limit(10, rules(PODS), done, NOW) == 10 - 3 + 1 - 4


def test_without_a_behavior_a_step_may_double_or_make_four() -> None:
    for current, most in ((1, 4), (3, 6), (10, 20)):
        made = step(100, Range(current, 1, 100), None, History(), NOW)
        assert (made.replicas, made.limit, made.limited) == (most, "ScaleUpLimit", True)
    assert step(100, Range(10, 1, 15), None, History(), NOW).limit == "TooManyReplicas"
    assert step(0, Range(10, 2, 15), None, History(), NOW)[:4] == (
        2, "ReadyForNewScale", True, "TooFewReplicas",
    )  # fmt: skip


def test_a_scale_down_waits_until_nothing_higher_was_recommended_lately() -> None:
    history = History((Moment(NOW - 299, 8), Moment(NOW - 100, 5)))
    made = step(2, Range(8, 1, 10), None, history, NOW)
    assert (made.replicas, made.stabilized) == (8, "ScaleDownStabilized")
    later = step(2, Range(8, 1, 10), None, made.history, NOW + 100)
    assert later.replicas == 5
    assert step(2, Range(8, 1, 10), None, later.history, NOW + 301).replicas == 2


def test_a_scale_up_waits_where_its_window_says_so() -> None:
    slow = behavior(up=rules(policy("Percent", 900, 15), window=60))
    first = step(9, Range(3, 1, 10), slow, History((Moment(NOW - 30, 3),)), NOW)
    assert (first.replicas, first.stabilized) == (3, "ScaleUpStabilized")
    assert step(9, Range(3, 1, 10), slow, first.history, NOW + 61).replicas == 9


def test_a_window_that_is_not_given_is_five_minutes_down_and_none_up() -> None:
    some = behavior(down=rules(PERCENT, window=None))
    history = History((Moment(NOW - 250, 7),))
    assert step(2, Range(7, 1, 10), some, history, NOW).replicas == 7
    assert step(9, Range(7, 1, 10), some, history, NOW).replicas == 9


def test_limits_of_behaviors_have_reasons() -> None:
    small = behavior(up=rules(policy("Pods", 1)), down=rules(policy("Pods", 1)))
    assert step(9, Range(3, 1, 10), small, History(), NOW)[:4] == (
        4, "ReadyForNewScale", True, "ScaleUpLimit",
    )  # fmt: skip
    assert step(1, Range(5, 1, 10), small, History(), NOW)[2:4] == (True, "ScaleDownLimit")
    assert step(50, Range(9, 1, 10), behavior(), History(), NOW).limit == "TooManyReplicas"
    assert step(1, Range(9, 3, 10), behavior(), History(), NOW).limit == "TooFewReplicas"
    assert step(9, Range(9, 3, 10), behavior(), History(), NOW).limit == "DesiredWithinRange"


POLICIES = st.lists(
    st.builds(policy, st.sampled_from(["Pods", "Percent"]), st.integers(1, 200),
              st.integers(1, 1800)),
    min_size=1, max_size=3,
)  # fmt: skip
RULES = st.builds(
    lambda policies, select, window: rules(*policies, select=select, window=window),
    POLICIES,
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.none() | st.integers(0, 3600),
)
BEHAVIORS = st.none() | st.builds(lambda up, down: behavior(up=up, down=down), RULES, RULES)
MOMENTS = st.lists(
    st.builds(Moment, st.floats(NOW - 4000, NOW), st.integers(1, 50)), max_size=6
).map(tuple)
HISTORIES = st.builds(History, MOMENTS, MOMENTS, MOMENTS)


@given(
    wanted=st.integers(0, 300),
    least=st.integers(1, 20),
    more=st.integers(0, 80),
    at=st.floats(0, 1),
    how=BEHAVIORS,
    history=HISTORIES,
)
def test_a_step_stays_within_the_bounds_and_never_passes_what_is_wanted(
    wanted: int, least: int, more: int, at: float, how: Any, history: History
) -> None:
    current = least + int(more * at)
    within = Range(current, least, least + more)
    made = step(wanted, within, how, history, NOW)
    assert least <= made.replicas <= least + more
    assert made.stabilized in MESSAGES
    assert made.limit in MESSAGES
    if wanted >= current:
        assert current <= made.replicas or how is None
        assert made.replicas <= max(wanted, *(m.amount for m in made.history.recommended))
    if wanted <= current and how is not None:
        assert made.replicas <= current


@given(wanted=st.integers(1, 50), how=BEHAVIORS, history=HISTORIES)
def test_a_steady_recommendation_is_reached_unless_a_direction_is_disabled(
    wanted: int, how: Any, history: History
) -> None:
    current, now = 10, NOW
    for _ in range(80):
        made = step(wanted, Range(current, 1, 50), how, history, now)
        history = (
            made.history.with_step(now, current, made.replicas, how)
            if (made.replicas != current)
            else made.history
        )
        assert (made.replicas - current) * (wanted - current) >= 0 or how is None
        current, now = made.replicas, now + 4000
    direction = "scaleUp" if wanted > 10 else "scaleDown"
    disabled = how is not None and how[direction]["selectPolicy"] == "Disabled"
    percent_of_little = how is not None and wanted < 10 and current != wanted
    assert current == (10 if disabled and wanted != 10 else wanted) or percent_of_little


@given(BEHAVIORS, st.lists(st.integers(1, 50), min_size=1, max_size=300))
def test_memory_is_bounded_by_the_windows(how: Any, wanted: list[int]) -> None:
    history, current, now = History(), 5, NOW
    for one in wanted:
        made = step(one, Range(current, 1, 50), how, history, now)
        history = made.history
        if made.replicas != current:
            history = history.with_step(now, current, made.replicas, how)
        current, now = made.replicas, now + 15
    assert len(history.recommended) <= 3600 / 15 + 1
    assert len(history.ups) + len(history.downs) <= 2 * (1800 / 15 + 1)
