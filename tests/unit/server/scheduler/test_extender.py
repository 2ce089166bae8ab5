"""Extenders over HTTP on loopback: what they are asked, what counts of it, and what goes wrong."""

import asyncio
import contextlib

import pytest
from aiohttp import web

from minikube_py.server.scheduler.algorithm import Fit
from minikube_py.server.scheduler.candidate import Candidate
from minikube_py.server.scheduler.extender import ExtenderConfig, ExtenderError, Extenders
from tests.unit.server.scheduler.builders import cache, cycle, node, pod


class Server:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.url = ""

    async def handle(self, request):
        verb = request.path.rpartition("/")[2]
        self.asked.append((verb, await request.json()))
        answer = self.answers[verb]
        if answer is None:
            await asyncio.sleep(3600)
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.json_response(answer)


@contextlib.asynccontextmanager
async def extending(answers, **more):
    server = Server(answers)
    app = web.Application()
    app.router.add_post("/{tail:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    verbs = {verb: verb for verb in answers}
    url = f"http://127.0.0.1:{address[1]}/x/"
    config = ExtenderConfig(url=url, verbs=verbs, **more)
    extenders = Extenders([config])
    try:
        yield server, extenders
    finally:
        await extenders.close()
        await runner.cleanup()


def fitting(*names):
    there = cache(*(node(name) for name in names))
    return Fit(len(names), nodes=list(there.nodes.values()))


async def test_nodes_that_an_extender_rules_out_are_rejected_in_its_words():
    answer = {
        "nodes": {"items": [{"metadata": {"name": "a"}}]},
        "failedNodes": {"b": "no gpu"},
        "failedAndUnresolvableNodes": {"c": "never"},
    }
    async with extending({"filter": answer}) as (server, extenders):
        fit = fitting("a", "b", "c", "d")
        assert extenders.concern(pod())
        await extenders.filter(pod(), fit)
        assert [one.name for one in fit.nodes] == ["a"]
        assert fit.rejected["b"].rejection == (("no gpu",), False)
        assert fit.rejected["c"].rejection == (("never",), True)
        assert fit.plugins == {"Extender"}
        ((_, asked),) = server.asked
        assert [one["metadata"]["name"] for one in asked["nodes"]["items"]] == ["a", "b", "c", "d"]
        assert asked["pod"]["kind"] == "Pod"


async def test_an_extender_that_knows_the_nodes_is_sent_names():
    async with extending({"filter": {"nodenames": ["b"]}}, node_cache_capable=True) as (
        server,
        extenders,
    ):
        fit = fitting("a", "b")
        await extenders.filter(pod(), fit)
        assert [one.name for one in fit.nodes] == ["b"]
        assert server.asked[0][1]["nodenames"] == ["a", "b"]
        assert server.asked[0][1]["nodes"] is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "broken"}, "broken"),
        (503, "failed filter with extender at URL"),
        ({"nodes": {"items": [{"metadata": {"name": "z"}}]}}, 'claims a filtered node "z"'),
        (None, "context deadline exceeded"),
    ],
)
async def test_what_an_extender_does_not_answer_is_an_error_unless_it_may_be_ignored(answer, said):
    async with extending({"filter": answer}, timeout_seconds=0.2) as (_, extenders):
        with pytest.raises(ExtenderError, match=said):
            await extenders.filter(pod(), fitting("a"))
    async with extending({"filter": answer}, timeout_seconds=0.2, ignorable=True) as (_, extenders):
        fit = fitting("a")
        await extenders.filter(pod(), fit)
        assert len(fit.nodes) == 1


async def test_scores_of_extenders_are_scaled_weighted_and_never_fatal():
    answer = [{"host": "a", "score": 10}, {"host": "b", "score": 1}]
    nodes = fitting("a", "b").nodes
    async with extending({"prioritize": answer}, weight=2) as (_, extenders):
        assert await extenders.scores(pod(), nodes) == {"a": 200, "b": 20}
    async with extending({"prioritize": 500}) as (_, extenders):
        assert await extenders.scores(pod(), nodes) == {}


async def test_an_extender_hears_only_of_pods_that_use_its_resources():
    managed = frozenset({"example.com/gpu"})
    async with extending({"filter": {}, "bind": {}}, managed=managed) as (server, extenders):
        assert not extenders.concern(pod())
        assert extenders.binder(pod()) is None
        fit = fitting("a")
        await extenders.filter(pod(), fit)
        assert server.asked == []
        user = pod(requests={"example.com/gpu": "1"})
        assert extenders.concern(user)
        assert extenders.binder(user) is not None


async def test_an_extender_binds():
    async with extending({"bind": {}}) as (server, extenders):
        one = pod("p", uid="u")
        await extenders.binder(one).bind(one, "a")
        asked = {"podName": "p", "podNamespace": "d", "podUID": "u", "node": "a"}
        assert server.asked == [("bind", asked)]
    async with extending({"bind": {"error": "no"}}) as (_, extenders):
        with pytest.raises(ExtenderError, match="no"):
            await extenders.binder(pod()).bind(pod(), "a")


async def test_an_extender_narrows_the_candidates_of_a_preemption():
    victims = {name: pod(name, uid=name, node=name) for name in "ab"}
    there = cache(node("a"), node("b"), pods=victims.values())
    candidates = [Candidate(name, [victim]) for name, victim in victims.items()]
    left = {"nodeNameToMetaVictims": {"b": {"pods": [{"uid": "b"}], "numPDBViolations": 1}}}
    async with extending({"preempt": left}) as (server, extenders):
        found = await extenders.preempt(cycle(pod(), there), candidates)
        assert found == [Candidate("b", [victims["b"]], 1)]
        assert set(server.asked[0][1]["nodeNameToVictims"]) == {"a", "b"}
    for nonsense in ({"b": {"pods": []}}, {"b": {"pods": [{"uid": "?"}]}}, {"z": {}}):
        answer = {"preempt": {"nodeNameToMetaVictims": nonsense}}
        async with extending(answer) as (_, extenders):
            with pytest.raises(ExtenderError):
                await extenders.preempt(cycle(pod(), there), candidates)
