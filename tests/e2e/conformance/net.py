"""A namespace with pods that answer with their names, and a client that asks for them."""

import itertools
import json
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.conformance.batch import IMAGE
from tests.e2e.node.machine import Machine, wait_until

DOMAIN = "svc.cluster.local"


def pod(name: str, script: str = "sleep 3600", **more: Any) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", script]}
    container.update(more.pop("container", {}))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"name": name, **more.pop("labels", {})}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [container],
            **more,
        },
    }


def web(name: str, *ports: int, **more: Any) -> dict[str, Any]:
    """Return a pod that answers on each port with its own name; ready once it does."""
    ports = ports or (8080,)
    servers = "; ".join(f"httpd -p {port} -h /www" for port in ports)
    script = f"mkdir /www; hostname > /www/index.html; {servers}; sleep 3600"
    probe = {"tcpSocket": {"port": ports[-1]}, "periodSeconds": 1}
    named = [{"containerPort": port, "name": f"p{port}"} for port in ports]
    return pod(name, script, container={"readinessProbe": probe, "ports": named}, **more)


def service(name: str, selector: Any, *ports: Any, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector, "ports": list(ports) or [PORT], **spec},
    }


PORT = {"port": 80, "targetPort": 8080}


class Net:
    """A namespace with a client pod."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._turns = itertools.count()

    def do(self, *words: str, stdin: str = "") -> str:
        return self.cluster.kubectl("-n", self.namespace, *words, stdin=stdin)

    def get(self, *words: str) -> Any:
        return self.cluster.get(*words, "-n", self.namespace)

    def make(self, *objects: dict[str, Any], ready: bool = True) -> None:
        """Apply objects and wait until the pods among them are ready.

        Where there are several nodes, pods go to each in turn: two that follow each other are
        never on the same one.
        """
        placed = [self._placed(one) if one["kind"] == "Pod" else one for one in objects]
        self.cluster.apply(*placed, namespace=self.namespace)
        names = [f"pod/{one['metadata']['name']}" for one in objects if one["kind"] == "Pod"]
        if names and ready:
            self.do("wait", "--for=condition=Ready", *names, "--timeout=120s")

    def _placed(self, made: dict[str, Any]) -> dict[str, Any]:
        """Return a pod with the next node in turn, where it does not say itself where to go."""
        machines = self.cluster.machines
        if len(machines) == 1 or "nodeName" in made["spec"]:
            return made
        node = machines[next(self._turns) % len(machines)].name
        selector = {"kubernetes.io/hostname": node}
        return {**made, "spec": {**made["spec"], "nodeSelector": selector}}

    def says(self, wanted: str, *words: str, of: str = "client", after: str = "") -> None:
        """Wait until a program in a pod prints something, after other words where given."""
        seen = ""

        def true() -> bool:
            nonlocal seen
            said = self.cluster.run("-n", self.namespace, "exec", of, "--", *words)
            seen = said.stdout + said.stderr
            return wanted in said.stdout.partition(after)[2] if after else wanted in said.stdout

        wait_until(true, 60, lambda: f"{' '.join(words)}: {wanted!r}, but {seen!r}")

    def ask(self, host: str, source: str = "client") -> str:
        """Return who answers at `host:port`, "" where nobody does."""
        words = ("timeout", "3", "wget", "-q", "-O-", f"http://{host}")
        return self.cluster.run("-n", self.namespace, "exec", source, "--", *words).stdout.strip()

    def ask_many(self, host: str, times: int, source: str = "client") -> list[str]:
        """Return who answers several requests in a row."""
        script = f"for i in $(seq {times}); do timeout 3 wget -q -O- http://{host}; done"
        words = ("exec", source, "--", "sh", "-c", script)
        return self.cluster.run("-n", self.namespace, *words).stdout.split()

    def answers(self, host: str, *names: str) -> None:
        """Wait until each of some pods has answered, and nobody else does."""
        seen: set[str] = set()

        def true() -> bool:
            found = set(self.ask_many(host, 8))
            seen.update(found)
            return found <= set(names) and seen >= set(names)

        wait_until(true, 30, f"{names} answer at {host}, not {seen}")

    def silent(self, host: str) -> None:
        wait_until(lambda: not self.ask(host), 30, f"nobody answers at {host}")

    def reaches(self, host: str, name: str) -> None:
        """Wait until a pod answers with its name, asked from the client and from every node."""
        wait_until(lambda: self.ask(host) == name, 30, f"{name} answers the client at {host}")
        self.reaches_from_nodes(host, name)

    def reaches_from_nodes(self, host: str, name: str) -> None:
        """Wait until a pod answers every node with its name."""
        for machine in self.cluster.machines:
            wait_until(
                lambda machine=machine: self.from_node(host, machine) == name,
                30,
                f"{name} answers {machine.name} at {host}",
            )

    def from_node(self, host: str, machine: Machine | None = None) -> str:
        """Return who answers a request of a node itself, the server's where none is named."""
        line = f"timeout 3 busybox wget -q -O- http://{host} || true"
        return (machine or self.cluster.machine).sh("sh", "-c", line).strip()

    def slices(self, name: str) -> dict[str, set[int]]:
        """Return the pods and ports that the slices of a service lead to."""
        found: dict[str, set[int]] = {}
        label = f"kubernetes.io/service-name={name}"
        for one in self.get("endpointslices", "-l", label)["items"]:
            for endpoint in one["endpoints"] or ():
                ports = {port["port"] for port in one["ports"] or ()}
                found.setdefault(endpoint["targetRef"]["name"], set()).update(ports)
        return found

    def subsets(self, name: str) -> list[Any] | None:
        """Return the subsets of an Endpoints object; None while there is no such object."""
        words = ("get", "endpoints", name, "--ignore-not-found", "-o", "json")
        found = self.do(*words)
        return list(json.loads(found).get("subsets") or ()) if found else None

    def points(self, name: str, **pods: set[int]) -> None:
        """Wait until endpoints and slices of a service lead to these pods and no others."""

        def true() -> bool:
            objects = self.subsets(name) or ()
            listed = {
                address["targetRef"]["name"]: {port["port"] for port in subset["ports"]}
                for subset in objects
                for address in subset.get("addresses", ())
            }
            return self.slices(name) == pods and listed.keys() == pods.keys()

        wait_until(true, 30, f"{name} leads to {pods}")
