"""Calls to a runtime over a real socket, and the table of messages against CRI's own numbers."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from minikube_py.agent.cri.connection import Connection
from minikube_py.agent.cri.errors import (
    CriError,
    CriNotFoundError,
    CriTimeoutError,
    CriUnavailableError,
    CriUnimplementedError,
)
from minikube_py.agent.cri.events import container_events
from minikube_py.agent.cri.images import Images
from minikube_py.agent.cri.messages import TABLE, codec
from minikube_py.agent.cri.runtime import Runtime
from minikube_py.lib.message_table import parse

FACTS = (
    Path(__file__).resolve().parents[5] / "shared" / "reference" / "wire" / "cri-runtime-v1.json"
)
EVENTS = {"SubscribeRequest", "Envelope", "Timestamp", "Any", "TaskExit", "TaskOOM"}
LEASES = {"Lease", "LeaseCreateRequest", "LeaseDeleteRequest", "LeaseListRequest",
          "LeaseListResponse", "EmptyResponse"}  # fmt: skip
SNAPSHOTS = {"SnapshotMount", "SnapshotMountsResponse", "SnapshotRequest", "ViewSnapshotRequest"}
RECORDS = {"ContainerRecord", "ContainerRecordsRequest", "ContainerRecordsResponse"}
CONTAINERD = EVENTS | LEASES | SNAPSHOTS | RECORDS
"""Messages of containerd's own API."""

Answers = dict[str, Callable[[dict[str, Any]], Any]]


class ModelServer(grpc.GenericRpcHandler):
    """A runtime that gives prepared answers and notes what it was asked."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.events: list[dict[str, Any]] = []

    def service(self, details: Any) -> Any:
        path = details.method
        if path.endswith("Events/Subscribe"):
            return grpc.unary_stream_rpc_method_handler(
                self._subscribe,
                lambda data: codec().decode("SubscribeRequest", data),
                lambda message: codec().encode("Envelope", message),
            )
        method = path.rpartition("/")[2]
        if method not in self.answers:
            return None

        async def answer(request: dict[str, Any], context: Any) -> dict[str, Any]:
            self.asked.append((path, request))
            found = self.answers[method](request)
            if isinstance(found, grpc.StatusCode):
                await context.abort(found, "as told")
            return found  # type: ignore[no-any-return]

        return grpc.unary_unary_rpc_method_handler(
            answer,
            lambda data: codec().decode(f"{method}Request", data),
            lambda message: codec().encode(f"{method}Response", message),
        )

    async def _subscribe(self, request: Any, context: Any) -> AsyncIterator[dict[str, Any]]:
        self.asked.append((str(dict(context.invocation_metadata())), request))
        for event in self.events:
            yield event


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[ModelServer, Connection]]:
    model = ModelServer()
    running = grpc.aio.server()
    running.add_generic_rpc_handlers((model,))
    endpoint = f"unix://{tmp_path}/s"
    running.add_insecure_port(endpoint)
    await running.start()
    connection = Connection(endpoint)
    yield model, connection
    await connection.aclose()
    await running.stop(0)


def test_the_numbers_are_those_of_cri():
    facts = {name.removeprefix("runtime.v1."): message for name, message in _facts().items()}
    for name, fields in parse(TABLE).items():
        if name in CONTAINERD:
            continue
        if "enum" in fields:
            assert fields["enum"] == facts[name]["enum"], name
            continue
        for field, (number, kind, *label) in fields.items():
            expected = facts[name][field]
            told = [number, kind.replace("runtime.v1.", ""), *label]
            assert told == [expected[0], expected[1].replace("runtime.v1.", ""), *expected[2:]], (
                f"{name}.{field}"
            )


def _facts() -> dict[str, Any]:
    messages: dict[str, Any] = json.loads(FACTS.read_text())["messages"]
    return messages


async def test_a_call_goes_to_its_service_and_comes_back(server):
    model, connection = server
    model.answers["Version"] = lambda _: {"runtime_name": "model", "runtime_version": "1"}
    model.answers["ImageStatus"] = lambda _: {}
    assert (await Runtime(connection).version())["runtime_name"] == "model"
    assert await Images(connection).status("none:1") is None
    assert [path for path, _ in model.asked] == [
        "/runtime.v1.RuntimeService/Version",
        "/runtime.v1.ImageService/ImageStatus",
    ]


async def test_zeros_that_are_not_sent_are_read_as_zeros(server):
    model, connection = server
    # CONTAINER_CREATED and SANDBOX_READY are zeros of their enums, exit code 0 is one too.
    model.answers["ListContainers"] = lambda _: {"containers": [{"id": "c"}]}
    model.answers["ListPodSandbox"] = lambda _: {"items": [{"id": "s"}]}
    (container,) = await Runtime(connection).list_containers({})
    (sandbox,) = await Runtime(connection).list_sandboxes({})
    assert (container.state, container.exit_code, container.attempt) == ("created", 0, 0)
    assert sandbox.ready


async def test_a_sandbox_is_read_in_full(server):
    model, connection = server
    model.answers["PodSandboxStatus"] = lambda _: {
        "status": {
            "id": "s",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "attempt": 2},
            "state": "SANDBOX_NOTREADY",
            "network": {"ip": "10.0.0.1", "additional_ips": [{"ip": "fd00::1"}]},
            "linux": {"namespaces": {"options": {"network": "NODE"}}},
        }
    }
    found = await Runtime(connection).sandbox_status("s")
    assert (found.uid, found.attempt, found.ready, found.host_network) == ("u", 2, False, True)
    assert found.ips == ("10.0.0.1", "fd00::1")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.NOT_FOUND, CriNotFoundError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, CriTimeoutError),
        (grpc.StatusCode.UNKNOWN, CriError),
    ],
)
async def test_a_refusal_becomes_an_error_by_its_code(server, code, error):
    model, connection = server
    model.answers["StopContainer"] = lambda _: code
    with pytest.raises(error, match="as told") as raised:
        await Runtime(connection).stop_container("c", 1)
    assert raised.value.code == code.name


async def test_a_call_that_the_runtime_does_not_know_is_told_apart(server):
    _, connection = server
    with pytest.raises(CriUnimplementedError):
        await Runtime(connection).reopen_log("c")


async def test_nobody_at_the_socket_is_told_apart(tmp_path):
    connection = Connection(str(tmp_path / "none"))
    with pytest.raises(CriUnavailableError):
        await Runtime(connection).version()
    await connection.aclose()


async def test_events_are_of_containers_and_not_of_commands_in_them(server):
    model, connection = server

    def event(topic: str, kind: str, **fields: Any) -> dict[str, Any]:
        data = codec().encode(kind, fields)
        return {"namespace": "k8s.io", "topic": topic, "event": {"type_url": kind, "value": data}}

    model.events = [
        event("/tasks/exit", "TaskExit", container_id="a", id="a", exit_status=7),
        event("/tasks/exit", "TaskExit", container_id="a", id="exec-1"),
        event("/tasks/oom", "TaskOOM", container_id="b"),
        event("/snapshot/remove", "TaskOOM", container_id="c"),
    ]
    found = [(e.kind, e.container_id, e.exit_status) async for e in container_events(connection)]
    assert found == [("exit", "a", 7), ("oom", "b", 0)]
    metadata, request = model.asked[0]
    assert "'containerd-namespace': 'k8s.io'" in metadata
    assert request["filters"][0].startswith("namespace==k8s.io,")


def test_a_field_that_is_badly_written_is_an_error():
    with pytest.raises(ValueError, match="invalid literal"):
        parse("Message field:string\n")
