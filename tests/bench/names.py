"""What a question to the cluster's DNS costs: CPU of the process that answers, over the loopback.

The client is a process of its own, with as many questions under way as a socket's buffer takes.
"""

import asyncio
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from minikube_py.agent.dns import server
from minikube_py.agent.dns.forward import Forwarder
from minikube_py.agent.dns.records import Zone
from minikube_py.agent.dns.server import Resolver
from minikube_py.api.object import Key, Obj
from minikube_py.lib.tasks import Nursery
from tests.bench.report import Figure

QUESTIONS, UNDER_WAY, NAMES = 60_000, 64, 500
MICROSECONDS_MAX = 1e6 / 30_000
"""The budget: 30,000 questions a second and core."""
ASK = """
import socket, struct, sys
port, count, under_way, names = map(int, sys.argv[1:])
def question(number):
    labels = (f"s{number % names}", "default", "svc", "cluster", "local")
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\\0"
    return struct.pack(">6H", number & 0xffff, 0x100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.connect(("127.0.0.1", port))
client.settimeout(1)
questions = [question(number) for number in range(65536)]
sent = answered = failed = 0
while answered < count:
    while sent - answered < under_way:
        client.send(questions[sent & 0xffff])
        sent += 1
    try:
        answer = client.recv(2000)
    except TimeoutError:
        sent = answered
        continue
    failed += answer[3] & 15 != 0 or answer[7] != 1
    answered += 1
print(failed)
"""


class _Services:
    """A cluster of many services; each has an address."""

    def service(self, key: Key) -> Obj | None:
        address = f"10.43.{int(key.name[1:]) // 250}.{int(key.name[1:]) % 250}"
        return {
            "metadata": {"namespace": key.namespace, "name": key.name},
            "spec": {"clusterIP": address, "clusterIPs": [address], "ports": []},
        }

    def slices(self, key: Key) -> list[Obj]:
        del key
        return []

    def has_namespace(self, name: str) -> bool:
        return name == "default"

    def services_at(self, address: str) -> list[Obj]:
        del address
        return []

    slices_at = services_at


async def names(scale: float) -> list[Figure]:
    """Measure what a question about a service costs."""
    count = max(int(QUESTIONS * scale), 5000)
    async with AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(Nursery("names"))
        zone = Zone(("cluster", "local"), _Services())
        resolver = Resolver(zone, Forwarder(lambda _: (), nursery))
        port = await stack.enter_async_context(server.serving(resolver, ("127.0.0.1",), 0, nursery))
        words: list[Any] = [sys.executable, "-c", ASK, port, count, UNDER_WAY, NAMES]
        client = await asyncio.create_subprocess_exec(*map(str, words), stdout=subprocess.PIPE)
        cpu, begun = time.process_time(), time.perf_counter()
        said, _ = await client.communicate()
        cpu, took = time.process_time() - cpu, time.perf_counter() - begun
    assert said == b"0\n", said
    note = f"{count}, {UNDER_WAY} at a time; {count / cpu:.0f}/s a core, {count / took:.0f}/s seen"
    return [Figure("a name of the cluster, asked", cpu / count * 1e6, "us", MICROSECONDS_MAX, note)]
