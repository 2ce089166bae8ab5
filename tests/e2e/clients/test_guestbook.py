"""The guestbook: a store, its replicas and a frontend that find each other by name."""

import json
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node.machine import wait_until
from tests.e2e.test_main_job import fetch

pytestmark = pytest.mark.e2e
HEAD = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n"
PROGRAMS = {
    "primary": 'case "$QUERY_STRING" in\n'
    "set=*) echo ${QUERY_STRING#set=} >>/tmp/book ;;\nesac\ncat /tmp/book 2>/dev/null\n",
    "replica": "wget -q -O- http://primary/cgi-bin/book\n",
    "frontend": 'case "$QUERY_STRING" in\n'
    'set=*) wget -q -O- "http://primary/cgi-bin/book?$QUERY_STRING" ;;\n'
    "*) wget -q -O- http://replica/cgi-bin/book ;;\nesac\n",
}
REPLICAS = {"primary": 1, "replica": 2, "frontend": 3}


def part(name: str) -> list[dict[str, Any]]:
    """Return the program of a part of the guestbook, its deployment and its service."""
    labels = {"app": "guestbook", "tier": name}
    metadata = {"name": name, "labels": labels}
    container = {
        "name": name,
        "image": "kpy.local/busybox:1",
        "command": ["httpd", "-f", "-p", "8080", "-h", "/www"],
        "volumeMounts": [{"name": "program", "mountPath": "/www/cgi-bin"}],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    }
    volume = {"name": "program", "configMap": {"name": name, "defaultMode": 0o755}}
    pod = {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": [volume]}
    deployment = {
        "replicas": REPLICAS[name],
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    service = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
    program = {"book": HEAD + PROGRAMS[name]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": program},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": deployment},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]


@pytest.mark.conformance("Kubectl client Guestbook application should create and stop a working...")
def test_what_is_written_into_the_guestbook_can_be_read(cluster: Cluster, namespace: str) -> None:
    parts = [document for name in PROGRAMS for document in part(name)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": parts})
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=text)
    for name in PROGRAMS:
        cluster.kubectl(
            "rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=120s"
        )
    address = cluster.get("service", "frontend", "-n", namespace)["spec"]["clusterIP"]
    book = f"http://{address}/cgi-bin/book"
    wait_until(lambda: "TestEntry" in fetch(cluster, f"{book}?set=TestEntry"), 60, "it is written")
    wait_until(lambda: "TestEntry" in fetch(cluster, book), 60, "the frontend reads the entry")
    cluster.kubectl("delete", "-n", namespace, "-f", "-", "--timeout=120s", stdin=text)
    cluster.kubectl("wait", "--for=delete", "pods", "-l", "app=guestbook", "-n", namespace)
    left = ("all", "-l", "app=guestbook", "-n", namespace)
    wait_until(lambda: cluster.get(*left)["items"] == [], 60, "nothing is left")
