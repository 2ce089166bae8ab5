"""The kubelet's API asks the API server who somebody is and what they may, and remembers it."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.agent.cri.runtime import Container
from minikube_py.agent.kubelet.access import ANSWERS_MAX, Access, Answers, attributes
from minikube_py.agent.kubelet.server import KubeletServer, server_ssl, serving
from minikube_py.agent.kubelet.server_host import Host
from minikube_py.api.authentication import TOKENREVIEWS
from minikube_py.api.errors import ForbiddenError, UnauthorizedError
from minikube_py.api.object import Obj
from minikube_py.api.resource import Resource
from minikube_py.client.protocol import Client
from minikube_py.lib import authority, pki
from minikube_py.lib.clock import SystemClock


class Time(SystemClock):
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


class Reviews:
    """An API server that knows one token and lets one user do one thing."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, Any]] = []

    async def create(self, resource: Resource, obj: Obj, **_: Any) -> Obj:
        self.asked.append(obj)
        if resource is TOKENREVIEWS:
            if obj["spec"]["token"] != "good":
                return {"status": {"authenticated": False, "error": "no such token"}}
            user = {"username": "alice", "groups": ["dev"], "extra": {"k": ["v"]}}
            return {"status": {"authenticated": True, "user": user}}
        wanted = obj["spec"]["resourceAttributes"]
        return {"status": {"allowed": wanted["subresource"] in ("metrics", "proxy")}}


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def access(reviews: Reviews, clock: Time) -> Access:
    return Access(cast("Client", reviews), "node-1", clock)


async def test_a_token_is_reviewed_once_and_again_when_the_answer_is_old(
    access: Access, reviews: Reviews, clock: Time
) -> None:
    for _ in range(2):
        identity = await access.check(None, "Bearer good", "GET", "/metrics")
        assert getattr(identity, "name", "") == "alice"
    assert [obj["kind"] for obj in reviews.asked] == ["TokenReview", "SubjectAccessReview"]
    clock.seconds += 121
    await access.check(None, "Bearer good", "GET", "/metrics")
    assert [obj["kind"] for obj in reviews.asked[2:]] == ["TokenReview"]
    clock.seconds += 181
    await access.check(None, "Bearer good", "GET", "/metrics")
    assert [obj["kind"] for obj in reviews.asked[3:]] == ["TokenReview", "SubjectAccessReview"]


async def test_the_review_says_who_wants_what_of_which_node(
    access: Access, reviews: Reviews
) -> None:
    await access.check(None, "Bearer good", "POST", "/exec/a/b/c")
    spec = reviews.asked[1]["spec"]
    assert (spec["user"], spec["groups"], spec["extra"]) == ("alice", ["dev"], {"k": ["v"]})
    assert spec["resourceAttributes"] == {
        "verb": "create",
        "version": "v1",
        "resource": "nodes",
        "subresource": "proxy",
        "name": "node-1",
    }


@pytest.mark.parametrize("authorization", ["", "Basic eDp5", "Bearer ", "Bearer bad"])
async def test_who_is_not_known_is_unauthorized(access: Access, authorization: str) -> None:
    with pytest.raises(UnauthorizedError):
        await access.check(None, authorization, "GET", "/metrics")


async def test_who_may_not_is_told_what_they_may_not(access: Access) -> None:
    with pytest.raises(ForbiddenError, match=r"user=alice, verb=get, .*subresource\(s\)=\[stats\]"):
        await access.check(None, "Bearer good", "GET", "/stats/summary")


async def test_proxy_covers_what_has_a_finer_subresource(access: Access, reviews: Reviews) -> None:
    await access.check(None, "Bearer good", "GET", "/pods")
    asked = [obj["spec"]["resourceAttributes"]["subresource"] for obj in reviews.asked[1:]]
    assert asked == ["pods", "proxy"]


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/logs/syslog", ("get", ("log",))),
        ("GET", "/metrics/cadvisor", ("get", ("metrics",))),
        ("GET", "/healthz", ("get", ("healthz", "proxy"))),
        ("POST", "/run/a/b/c", ("create", ("proxy",))),
        ("GET", "/containerLogs/a/b/c", ("get", ("proxy",))),
        ("DELETE", "/", ("delete", ("proxy",))),
    ],
)
def test_paths_are_subresources_of_nodes(
    method: str, path: str, wanted: tuple[str, Sequence[str]]
) -> None:
    assert attributes(method, path) == wanted


@given(st.lists(st.integers(0, 5000), max_size=50))
def test_answers_are_bounded_and_the_newest_stay(questions: list[int]) -> None:
    answers: Answers[int, str] = Answers(Time())
    for question in [*range(ANSWERS_MAX), *questions]:
        answers.keep(question, str(question), 10)
    assert len(answers._kept) <= ANSWERS_MAX
    if questions:
        assert answers.get(questions[-1]) == str(questions[-1])


async def test_a_client_certificate_says_who_asks(
    tmp_path: Path, access: Access, reviews: Reviews
) -> None:
    now = datetime.now(UTC)
    ca = authority.ensure_ca(tmp_path, "ca", "cluster", now)
    served = pki.Subject(name="node", alternatives=("127.0.0.1",))
    serving_pair = pki.ensure_leaf(tmp_path, "kubelet", ca, served, "server", now=now)
    caller = pki.Subject(name="kube-apiserver-kubelet-client", organizations=("masters",))
    calling_pair = pki.ensure_leaf(tmp_path, "caller", ca, caller, "client", now=now)
    trust = ssl.create_default_context(cafile=str(ca.certificate_path))
    ours = ssl.create_default_context(cafile=str(ca.certificate_path))
    ours.load_cert_chain(calling_pair.certificate_path, calling_pair.key_path)
    host = Host(cast("Any", _NoContainers()), cast("Any", None))
    kubelet = KubeletServer(host, access, SystemClock())
    context = server_ssl(serving_pair.certificate_path, serving_pair.key_path, ca.certificate_path)
    async with (
        serving(kubelet, "127.0.0.1", 0, context) as port,
        aiohttp.ClientSession() as client,
        asyncio.timeout(5),
    ):
        url = f"https://127.0.0.1:{port}/runningpods/"
        async with client.get(url, ssl=trust) as answer:
            assert answer.status == 401
        async with client.get(url, ssl=ours) as answer:
            assert answer.status == 200
    spec = reviews.asked[0]["spec"]
    assert spec["user"] == "kube-apiserver-kubelet-client"
    assert spec["groups"] == ["masters", "system:authenticated"]


class _NoContainers:
    async def list_containers(self, _: object) -> list[Container]:
        return []
