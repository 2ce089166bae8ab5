"""Requests under way: their limits of time, and how they are counted."""

import asyncio
from collections.abc import Mapping

import pytest

from minikube_py.api.errors import BadRequestError
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.server.apiserver.request import parse
from minikube_py.server.apiserver.request_metrics import RequestMetrics
from minikube_py.server.apiserver.requests import Requests, limit_of

LONG = 3600.0
GET = parse("GET", "/api/v1/pods", {})


async def waits(requests: Requests, query: Mapping[str, str], path: str = "/api/v1/pods") -> bool:
    """Be a request that waits for ever; return whether its time was over."""
    task = asyncio.current_task()
    requests.begin(task, parse("GET", path, query), query)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return requests.has_expired(task)
    finally:
        requests.end(task)
    return False


async def test_a_request_ends_when_its_time_is_over() -> None:
    requests = Requests(0.02)
    assert await asyncio.gather(*(waits(requests, {}) for _ in range(3))) == [True] * 3
    assert await waits(Requests(LONG), {"timeout": "20ms"})
    assert len(requests) == 0


async def test_a_request_cannot_have_more_than_the_usual_limit() -> None:
    assert await waits(Requests(0.02), {"timeout": "1h"})
    assert await waits(Requests(0.02), {"timeout": "0"})


@pytest.mark.parametrize("path", ["/api/v1/watch/pods", "/api/v1/namespaces/a/pods/b/log"])
async def test_what_lasts_by_nature_has_no_limit(path: str) -> None:
    requests = Requests(0.001)
    request = asyncio.ensure_future(waits(requests, {}, path))
    await asyncio.sleep(0.02)
    assert not request.done()
    request.cancel()
    assert await request is False


async def test_a_stop_ends_what_lasts_and_waits_for_the_rest() -> None:
    requests = Requests(LONG)
    ended = asyncio.Event()

    async def lasts() -> None:
        info = parse("GET", "/api/v1/namespaces/a/pods/b/exec", {})
        with requests.lasting(asyncio.current_task(), info):
            await asyncio.Event().wait()

    async def ends() -> None:
        task = asyncio.current_task()
        requests.begin(task, GET, {})
        await ended.wait()
        requests.end(task)

    lasting, ending = asyncio.ensure_future(lasts()), asyncio.ensure_future(ends())
    await asyncio.sleep(0)
    assert len(requests) == 2
    requests.stop()
    finished = asyncio.ensure_future(requests.finished())
    await asyncio.wait([lasting])
    assert lasting.cancelled()
    assert not finished.done()
    ended.set()
    await finished
    assert ending.done()


def test_a_limit_has_to_be_a_duration() -> None:
    assert limit_of({}) is None
    assert limit_of({"timeout": "1m30s"}) == 90.0
    with pytest.raises(BadRequestError):
        limit_of({"timeout": "10"})


@pytest.mark.parametrize(
    ("method", "path", "labels"),
    [
        ("GET", "/api/v1/pods", 'resource="pods",scope="cluster",subresource="",verb="LIST"'),
        (
            "GET",
            "/api/v1/namespaces/a/pods",
            'resource="pods",scope="namespace",subresource="",verb="LIST"',
        ),
        (
            "POST",
            "/api/v1/namespaces/a/pods/b/exec",
            'resource="pods",scope="resource",subresource="exec",verb="CONNECT"',
        ),
        (
            "PATCH",
            "/api/v1/namespaces/a/pods/b/status",
            'resource="pods",scope="resource",subresource="status",verb="PATCH"',
        ),
        ("GET", "/readyz/etcd", 'resource="",scope="",subresource="/readyz",verb="GET"'),
        ("GET", "/made/up", 'resource="",scope="",subresource="",verb="GET"'),
        ("MADEUP", "/made/up", 'resource="",scope="",subresource="",verb="other"'),
        ("GET", "/api/v1/madeup", 'resource="",scope="",subresource="",verb="LIST"'),
        (
            "GET",
            "/api/v1/namespaces/a/pods/b/madeup",
            'resource="pods",scope="resource",subresource="",verb="GET"',
        ),
    ],
)
def test_labels_are_of_what_is_served(method: str, path: str, labels: str) -> None:
    metrics = RequestMetrics(Scheme(BUILTIN))
    metrics.count(parse(method, path, {}), {}, 200, 0.01)
    page = "\n".join(metrics.lines())
    assert labels in page
    assert "madeup" not in page


def test_an_apply_is_told_from_other_patches() -> None:
    metrics = RequestMetrics(Scheme(BUILTIN))
    info = parse("PATCH", "/api/v1/namespaces/a/pods/b", {})
    metrics.count(info, {"Content-Type": "application/apply-patch+yaml"}, 200, 0.01)
    assert 'verb="APPLY"' in "\n".join(metrics.lines())


def test_the_buckets_of_both_histograms_add_up() -> None:
    metrics = RequestMetrics(Scheme(BUILTIN))
    for seconds in (0.001, 0.03, 0.07, 70.0):
        metrics.count(GET, {}, 200, seconds)
    lines = [line for line in metrics.lines() if line.endswith(" 4")]
    assert any("apiserver_request_duration_seconds_count" in line for line in lines)
    assert any("apiserver_request_sli_duration_seconds_count" in line for line in lines)
    sli = [line for line in metrics.lines() if "sli_duration_seconds_bucket" in line]
    assert sli[0].endswith('le="0.05"} 2')
