"""The recorder: series, combined events, rate limits, a server that is away."""

import asyncio

from minikube_py.api.core import EVENTS
from minikube_py.api.errors import ForbiddenError, ServiceUnavailableError
from minikube_py.client.events import BUFFER_MAX, BURST, Recorder
from minikube_py.lib.tasks import Nursery
from tests.model_cluster import ModelCluster
from tests.virtual_time import VirtualClock, settle, virtual

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "d", "uid": "u1", "resourceVersion": "7"},
}


def pod(name):
    return {**POD, "metadata": {**POD["metadata"], "name": name, "uid": name}}


class Recording:
    """A recorder at work on a model cluster."""

    def __init__(self):
        self.cluster = ModelCluster(VirtualClock())
        self.recorder = Recorder(self.cluster.client(), "tester", VirtualClock(), host="n1")

    async def __aenter__(self):
        self._nursery = Nursery("test")
        self._nursery.start("events", self.recorder.run())
        return self

    async def __aexit__(self, *_):
        await self._nursery.cancel()

    def events(self):
        return self.cluster.objects(EVENTS)


@virtual
async def test_an_event_says_who_what_and_of_which_object():
    async with Recording() as recording:
        recording.recorder.record(
            POD, "Normal", "Started", "Container started", field_path="spec.containers{web}"
        )
        await settle()
        (event,) = recording.events()
    assert event["involvedObject"] == {
        "kind": "Pod",
        "namespace": "d",
        "name": "p",
        "uid": "u1",
        "apiVersion": "v1",
        "resourceVersion": "7",
        "fieldPath": "spec.containers{web}",
    }
    assert event["metadata"]["namespace"] == "d"
    assert event["metadata"]["name"].startswith("p.")
    assert event["source"] == {"component": "tester", "host": "n1"}
    assert (event["count"], event["type"], event["reason"]) == (1, "Normal", "Started")
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"


@virtual
async def test_what_is_told_again_raises_the_count_of_one_event():
    async with Recording() as recording:
        for _ in range(3):
            recording.recorder.record(POD, "Warning", "BackOff", "again")
            await settle(60)
        (event,) = recording.events()
    assert event["count"] == 3
    assert (event["firstTimestamp"], event["lastTimestamp"]) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:02:00Z",
    )


@virtual
async def test_many_different_messages_are_combined():
    async with Recording() as recording:
        for number in range(15):
            recording.recorder.record(POD, "Warning", "Failed", f"message {number}")
            await settle()
        events = recording.events()
    combined = [e for e in events if e["message"].startswith("(combined from similar events): ")]
    assert len(events) == 11
    assert [(e["count"], e["message"].split(": ")[1]) for e in combined] == [(5, "message 14")]


@virtual
async def test_an_object_that_is_talked_of_too_much_is_limited_and_others_are_not():
    async with Recording() as recording:
        for _ in range(BURST + 20):
            recording.recorder.record(POD, "Normal", "R", "m")
        recording.recorder.record(pod("other"), "Normal", "R", "m")
        await settle()
        counts = {e["involvedObject"]["name"]: e["count"] for e in recording.events()}
        assert counts == {"p": BURST, "other": 1}
        await settle(301)
        recording.recorder.record(POD, "Normal", "R", "m")
        await settle()
        counts = {e["involvedObject"]["name"]: e["count"] for e in recording.events()}
    assert counts["p"] == BURST + 1


@virtual
async def test_an_event_that_outlived_its_time_is_made_anew():
    async with Recording() as recording:
        recording.recorder.record(POD, "Normal", "R", "m")
        await settle()
        (old,) = recording.events()
        recording.cluster.remove(EVENTS, old)
        recording.recorder.record(POD, "Normal", "R", "m")
        await settle()
        (new,) = recording.events()
    assert new["count"] == 1
    assert new["metadata"]["name"] != old["metadata"]["name"]


@virtual
async def test_a_server_that_is_away_for_a_while_gets_the_event_later():
    refusals = []

    def refuse(user, verb, resource, obj):
        if len(refusals) < 2:
            refusals.append(asyncio.get_running_loop().time())
            raise ServiceUnavailableError("away")

    async with Recording() as recording:
        recording.cluster.refuse = refuse
        recording.recorder.record(POD, "Normal", "R", "m")
        await settle(60)
        assert len(recording.events()) == 1


@virtual
async def test_a_refused_event_is_dropped_and_the_next_one_is_written():
    def refuse(user, verb, resource, obj):
        if obj["reason"] == "Bad":
            raise ForbiddenError("no")

    async with Recording() as recording:
        recording.cluster.refuse = refuse
        recording.recorder.record(POD, "Normal", "Bad", "m")
        recording.recorder.record(POD, "Normal", "Good", "m")
        await settle()
        assert [e["reason"] for e in recording.events()] == ["Good"]


@virtual
async def test_a_full_buffer_drops_and_counts():
    recorder = Recorder(ModelCluster(VirtualClock()).client(), "tester", VirtualClock())
    for number in range(BUFFER_MAX + 5):
        recorder.record(pod(f"p{number}"), "Normal", "R", "m")
    assert recorder.dropped == 5


@virtual
async def test_events_of_cluster_scoped_objects_go_to_the_default_namespace():
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "n1"}}
    async with Recording() as recording:
        recording.recorder.record(node, "Normal", "NodeReady", "m")
        await settle()
        (event,) = recording.events()
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["involvedObject"]
