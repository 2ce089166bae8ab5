"""Which rows go: laws of sweeping and trimming over whole lives of keys."""

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.datastore.retention import Marks, Retention, Superseding, sweep, trim

Life = list[tuple[str, int]]
"""(key, size of the value; -1: a delete), revision by revision."""
lives = st.lists(st.tuples(st.sampled_from("abp"), st.integers(-1, 400)), max_size=60)
retentions = st.builds(Retention, st.integers(0, 2_000), st.sampled_from([(), ("p",)]))


class Model:
    """A log in a dict, and what stands at each revision."""

    def __init__(self, life: Life) -> None:
        self.rows: dict[int, tuple[str, int, int]] = {}
        self.states: list[dict[str, int]] = [{}]
        for key, drawn in life:
            state = dict(self.states[-1])
            size = drawn if key in state else max(drawn, 0)
            revision = len(self.states)
            self.rows[revision] = (key, state.get(key, 0), size)
            if size < 0:
                del state[key]
            else:
                state[key] = revision
            self.states.append(state)

    def superseding(self, after: int, until: int) -> list[Superseding]:
        return [
            Superseding(n, key, previous, size < 0, self._size(previous))
            for n, (key, previous, size) in self.rows.items()
            if after < n <= until
        ]

    def _size(self, revision: int) -> int | None:
        return self.rows[revision][2] if revision in self.rows else None

    def state(self, revision: int) -> dict[str, int]:
        """Return what the rows that are left say of a revision."""
        state: dict[str, int] = {}
        for n, (key, _, size) in self.rows.items():
            if n <= revision:
                state[key] = n if size >= 0 else 0
        return {key: n for key, n in state.items() if n}


def carried_out(model: Model, marks: Marks, compacted: int, retention: Retention) -> Marks:
    """Do what a store does, three rows at a time."""
    while True:
        if retention.is_exceeded(marks):
            rule, after, end = trim, marks.trimmed, marks.swept
        elif marks.swept < compacted:
            rule, after, end = sweep, marks.swept, compacted
        else:
            return marks
        until = min(after + 3, end)
        rows = model.superseding(after, until)
        step = rule(rows, marks, until, retention)
        assert step.marks != marks
        for revision in step.remove:
            del model.rows[revision]
        marks = step.marks


@given(lives, st.lists(st.tuples(st.integers(0, 60), retentions), max_size=4))
def test_every_state_that_is_promised_can_be_shown(
    life: Life, compactions: list[tuple[int, Retention]]
) -> None:
    model, marks, compacted = Model(life), Marks(0, 0, 0), 0
    for revision, retention in compactions:
        compacted = max(compacted, min(revision, len(life)))
        marks = carried_out(model, marks, compacted, retention)
        assert marks.swept == compacted
        assert marks.history <= retention.bytes
        for n, wanted in enumerate(model.states):
            shown = model.state(n)
            if n >= compacted:
                assert shown == wanted
            elif n >= marks.trimmed:
                kept = {key: at for key, at in wanted.items() if retention.keeps(key)}
                assert {k: at for k, at in shown.items() if retention.keeps(k)} == kept


@given(lives, retentions)
def test_the_bytes_are_those_of_the_rows_that_are_superseded(
    life: Life, retention: Retention
) -> None:
    model = Model(life)
    marks = carried_out(model, Marks(0, 0, 0), len(life), retention)
    standing = set(model.states[-1].values())
    assert marks.history == sum(
        40 + len(key) + max(size, 0)
        for n, (key, _, size) in model.rows.items()
        if n not in standing
    )
