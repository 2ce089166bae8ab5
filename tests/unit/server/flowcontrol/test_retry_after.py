"""When a refused client is to come back."""

from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.flowcontrol.retry import RetryAfter


def test_a_single_refusal_asks_for_a_second():
    assert RetryAfter().refused(100.0) == 1


def test_many_refusals_double_the_wait_up_to_a_bound_and_quiet_lowers_it_again():
    retry = RetryAfter()
    seconds = [[retry.refused(float(second)) for _ in range(200)][-1] for second in range(100, 300)]
    assert seconds[:4] == [1, 2, 2, 4]
    assert max(seconds) == 32
    quiet = [retry.refused(float(second)) for second in range(1000, 1040 * 40, 40)]
    assert quiet[-1] == 1


@given(st.lists(st.floats(0, 5), max_size=200))
def test_the_wait_is_always_within_its_bounds(gaps):
    retry, now = RetryAfter(), 0.0
    for gap in gaps:
        now += gap
        assert 1 <= retry.refused(now) <= 32
    assert len(retry._history) <= 40
