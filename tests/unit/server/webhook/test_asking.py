"""Answers of webhooks that are remembered, and failures that are retried."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.server.webhook import asking
from minikube_py.server.webhook.asking import Answers, posted
from minikube_py.server.webhook.client import Target
from minikube_py.server.webhook.errors import WebhookError
from tests.unit.server.conftest import FakeClock

TARGET = Target("https://a/")


class Asked:
    """Counts questions; fails as often as it is told to."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.count = 0

    async def __call__(self, *_args: Any, **_more: Any) -> Any:
        self.count += 1
        outcome = self.outcomes.pop(0) if self.outcomes else "yes"
        await asyncio.sleep(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def lasting(seconds: float) -> Callable[[Any], float]:
    return lambda _answer: seconds


async def test_an_answer_counts_for_its_time() -> None:
    clock, asked = FakeClock(), Asked("one", "two")
    answers: Answers[str] = Answers(clock)
    key = answers.key(["token"])
    assert await answers.get(key, asked, lasting(10)) == "one"
    clock.seconds = 9.9
    assert await answers.get(key, asked, lasting(10)) == "one"
    clock.seconds = 10
    assert answers.find(key) is None
    assert await answers.get(key, asked, lasting(10)) == "two"
    assert asked.count == 2


async def test_a_failure_is_not_remembered() -> None:
    asked = Asked(WebhookError("no"), "yes")
    answers: Answers[str] = Answers(FakeClock())
    with pytest.raises(WebhookError, match="no"):
        await answers.get(b"k", asked, lasting(10))
    assert await answers.get(b"k", asked, lasting(10)) == "yes"


async def test_equal_questions_at_the_same_time_are_asked_once() -> None:
    asked = Asked("yes", WebhookError("no"))
    answers: Answers[str] = Answers(FakeClock())
    got = await asyncio.gather(*(answers.get(b"k", asked, lasting(1)) for _ in range(5)))
    assert (got, asked.count) == (["yes"] * 5, 1)
    failed = await asyncio.gather(
        *(answers.get(b"other", asked, lasting(1)) for _ in range(5)), return_exceptions=True
    )
    assert [str(error) for error in failed] == ["no"] * 5
    assert asked.count == 2


async def test_who_leaves_does_not_take_the_answer_from_others() -> None:
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "yes"

    answers: Answers[str] = Answers(FakeClock())
    loop = asyncio.get_running_loop()
    first, second = (
        loop.create_task(answers.get(b"k", slow, lasting(1)), name=name) for name in "ab"
    )
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == "yes"
    assert first.cancelled() or first.cancelling()


async def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWERS_MAX", 3)
    answers: Answers[str] = Answers(FakeClock())
    for name in "abcd":
        await answers.get(name.encode(), Asked(), lasting(1))
    assert len(answers) == 3
    assert answers.find(b"a") is None
    await answers.get(b"e", Asked(), lasting(0))
    assert len(answers) == 3


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_keys_tell_questions_apart_and_hold_none_of_them(texts: list[str]) -> None:
    answers: Answers[str] = Answers(FakeClock())
    first, second = (answers.key(text) for text in texts)
    assert first != second
    assert first == answers.key(texts[0])
    assert first != Answers[str](FakeClock()).key(texts[0])
    assert len(first) == 32


Post = Callable[..., Awaitable[Any]]


async def test_failures_that_pass_are_retried_with_growing_waits() -> None:
    clock = FakeClock()
    again = [WebhookError("later", passes=True) for _ in range(3)]
    asked = Asked(*again, {"status": {}})
    assert await posted(asked, TARGET, {}, clock) == {"status": {}}
    assert asked.count == 4
    assert clock.seconds == pytest.approx(0.5 + 0.75 + 1.125)


async def test_other_failures_are_final() -> None:
    asked = Asked(WebhookError("never"))
    with pytest.raises(WebhookError, match="never"):
        await posted(asked, TARGET, {}, FakeClock())
    assert asked.count == 1


async def test_patience_has_an_end() -> None:
    asked = Asked(*(WebhookError("later", passes=True) for _ in range(9)))
    with pytest.raises(WebhookError, match="later"):
        await posted(asked, TARGET, {}, FakeClock())
    assert asked.count == asking.TRIES_MAX
