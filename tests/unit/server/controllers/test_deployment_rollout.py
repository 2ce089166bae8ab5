"""The arithmetic of rollouts: bounds are kept, every step leads on, scaling keeps proportions."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minikube_py.api.object import evolve
from minikube_py.client.actions import Emit, Update
from minikube_py.server.controllers.deployment_revisions import (
    DESIRED,
    MAX,
    available_of,
    bounds,
    max_surge,
    max_unavailable,
    replicas_of,
    size_annotations,
    sum_replicas,
    view_of,
)
from minikube_py.server.controllers.deployment_rollout import (
    first_size,
    is_scaling,
    rolling,
    scaling,
)
from tests.unit.server.controllers.builders import NOW, TEMPLATE, deployment, replicaset

OLD = {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": "old"}]}}
OLDER = {**TEMPLATE, "spec": {"containers": [{"name": "c", "image": "older"}]}}
Bound = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda share: f"{share}%"))


def rolling_spec(surge, unavailable):
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}


def rs(name, size, template, deployment, available=None, **annotations):
    notes = {**size_annotations(deployment), **annotations}
    status = {"replicas": size, "availableReplicas": size if available is None else available}
    return replicaset(name, size, template=template, annotations=notes, status=status)


def carry_out(actions, sets):
    """Return the replica sets after the updates of a plan."""
    changed = {a.obj["metadata"]["name"]: a.obj for a in actions if isinstance(a, Update)}
    return [changed.get(one["metadata"]["name"], one) for one in sets]


@given(
    replicas=st.integers(0, 12),
    old=st.integers(0, 15),
    surge=Bound,
    unavailable=Bound,
    data=st.data(),
)
def test_a_rolling_update_ends_and_never_leaves_its_bounds(replicas, old, surge, unavailable, data):
    d = deployment(replicas, spec=rolling_spec(surge, unavailable))
    surge, _ = bounds(d)
    least = replicas - max_unavailable(d)
    sets = [rs("old", old, OLD, d), rs("new", 0, TEMPLATE, d)]
    for _ in range(200):
        view = view_of(d, sets, NOW)
        actions = list(rolling(view))
        before = sum(map(available_of, sets))
        sets = carry_out(actions, sets)
        assert sum_replicas(sets) <= max(replicas + surge, old)
        # What is scaled down stops being available at once, what is new is not yet.
        lost = sum(max(available_of(one) - replicas_of(one), 0) for one in sets)
        assert before - lost >= min(least, before)
        sets = [
            evolve(one, "status.availableReplicas", min(replicas_of(one), available_of(one)))
            for one in sets
        ]
        if not actions:
            if all(available_of(one) == replicas_of(one) for one in sets):
                break
            one = data.draw(st.sampled_from([x for x in sets if available_of(x) < replicas_of(x)]))
            at = sets.index(one)
            sets[at] = evolve(one, "status.availableReplicas", available_of(one) + 1)
    assert [replicas_of(one) for one in sets] == [0, replicas]


def test_old_pods_that_are_not_available_go_first_and_at_once():
    d = deployment(10, spec=rolling_spec(3, 2))
    sets = [rs("old", 8, OLD, d, available=3), rs("new", 5, TEMPLATE, d)]
    actions = list(rolling(view_of(d, sets, NOW)))
    (update, event) = actions
    assert replicas_of(update.obj) == 3
    assert event.message == "Scaled down replica set old from 8 to 3"


def test_both_bounds_zero_means_one_may_be_missing():
    d = deployment(4, spec=rolling_spec("0%", "0%"))
    assert bounds(d) == (0, 1)


def test_percentages_are_rounded_so_that_a_rollout_moves():
    assert bounds(deployment(3)) == (1, 0)  # 25 % of 3: surge up, unavailable down
    assert bounds(deployment(8)) == (2, 2)


def test_a_new_replica_set_starts_with_what_the_surge_leaves():
    d = deployment(4, spec=rolling_spec(1, 0))
    assert first_size(view_of(d, [], NOW)) == 4
    assert first_size(view_of(d, [rs("old", 4, OLD, d)], NOW)) == 1
    recreate = deployment(4, spec={"strategy": {"type": "Recreate"}})
    assert first_size(view_of(recreate, [rs("old", 0, OLD, recreate)], NOW)) == 4


def test_a_changed_size_is_noticed_by_what_replica_sets_noted():
    d = deployment(4)
    sets = [rs("new", 4, TEMPLATE, d)]
    assert not is_scaling(view_of(d, sets, NOW))
    assert is_scaling(view_of(evolve(d, "spec.replicas", 5), sets, NOW))


def test_the_only_replica_set_gets_the_whole_size_and_notes_it():
    d = deployment(4)
    sets = [rs("new", 4, TEMPLATE, d)]
    bigger = evolve(d, "spec.replicas", 7)
    update, event = scaling(view_of(bigger, sets, NOW))
    assert replicas_of(update.obj) == 7
    assert update.obj["metadata"]["annotations"][DESIRED] == "7"
    assert isinstance(event, Emit)
    assert event.message == "Scaled up replica set new from 4 to 7"
    assert not is_scaling(view_of(bigger, [update.obj], NOW))


def test_a_deployment_scaled_in_the_middle_of_a_rollout_keeps_the_proportions():
    d = deployment(10, spec=rolling_spec(3, 2))
    sets = [
        rs("older", 5, OLDER, d, creationTimestamp=""),
        rs("old", 5, OLD, d),
        rs("new", 3, TEMPLATE, d),
    ]
    bigger = evolve(d, "spec.replicas", 20)
    view = view_of(bigger, sets, NOW)
    sizes = {
        a.obj["metadata"]["name"]: replicas_of(a.obj)
        for a in scaling(view)
        if isinstance(a, Update)
    }
    assert sum(sizes.values()) == 23
    assert sizes == {"old": 9, "older": 9, "new": 5}


@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    replicas=st.integers(0, 40),
    surge=st.integers(0, 5),
)
@example(sizes=[1, 1, 1, 1], replicas=1, surge=1)
def test_proportional_scaling_gives_out_exactly_what_is_allowed(sizes, replicas, surge):
    before = deployment(max(sum(sizes) - surge, 1), spec=rolling_spec(surge, 1))
    templates = [TEMPLATE, OLD, OLDER, {**TEMPLATE, "spec": {"containers": []}}]
    sets = [
        rs(f"rs{number}", size, templates[number], before, available=0)
        for number, size in enumerate(sizes)
    ]
    d = evolve(before, "spec.replicas", replicas)
    after = carry_out(list(scaling(view_of(d, sets, NOW))), sets)
    allowed = replicas + surge if replicas else 0
    # What rounding left over comes from one set, as far as that has it: upstream goes no further.
    emptied = sum_replicas(after) > allowed and any(replicas_of(one) == 0 for one in after)
    assert sum_replicas(after) == allowed or emptied
    assert all(replicas_of(one) >= 0 for one in after)
    if allowed >= sum(sizes):
        assert all(replicas_of(a) >= replicas_of(b) for a, b in zip(after, sets, strict=True))
    else:
        assert all(replicas_of(a) <= replicas_of(b) for a, b in zip(after, sets, strict=True))
    view = view_of(d, after, NOW)
    assert not is_scaling(view)
    # Where one replica set is left it gets the whole size; then all rests.
    settled = carry_out(list(scaling(view)), after)
    assert list(scaling(view_of(d, settled, NOW))) == []


def test_a_saturated_new_replica_set_ends_the_old_ones():
    d = deployment(3)
    sets = [rs("old", 1, OLD, d), rs("new", 3, TEMPLATE, d)]
    view = view_of(d, sets, NOW)
    sizes = [replicas_of(a.obj) for a in scaling(view) if isinstance(a, Update)]
    assert sizes == [0]


@pytest.mark.parametrize(("replicas", "surge"), [(3, "25%"), (1, "25%"), (10, 2)])
def test_replica_sets_note_the_size_and_the_most_there_may_be(replicas, surge):
    d = deployment(replicas, spec=rolling_spec(surge, 0))
    notes = size_annotations(d)
    assert int(notes[DESIRED]) == replicas
    assert int(notes[MAX]) == replicas + max_surge(d)
