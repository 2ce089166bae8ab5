"""kubectl of each minor version, with a namespace of its own and containers to work on."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.clients.programs import MINORS, Program, kubectl
from tests.e2e.cluster import Cluster
from tests.e2e.test_main_job import web

BOX = "box"
"""A pod that serves its name at port 8080 and has a second container; tests leave it as it is."""


@pytest.fixture(scope="session", params=MINORS)
def k(
    request: pytest.FixtureRequest, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Program]:
    """Give all tests of one minor its kubectl, bound to a namespace where the pod `box` runs."""
    minor: str = request.param
    namespace = f"kubectl-{minor.replace('.', '-')}"
    program = kubectl(minor, cluster, tmp_path_factory.mktemp(namespace), "-n", namespace)
    program("create", "namespace", namespace)
    program("wait", "--for=create", "serviceaccount/default", "--timeout=120s")
    program("apply", "-f", "-", stdin=program.text(box()))
    program("wait", "--for=condition=Ready", f"pod/{BOX}", "--timeout=120s")
    yield program
    program("delete", "namespace", namespace, "--wait=false")


def box() -> dict[str, Any]:
    """Return the pod that every minor has."""
    made = web(BOX, "echo started; echo again; ")
    main, more = made["spec"]["containers"][0], {"name": "side", "command": ["sleep", "3600"]}
    made["spec"]["containers"] = [main, {**main, **more}]
    del made["spec"]["containers"][1]["readinessProbe"]
    return made


@pytest.fixture
def minor(k: Program) -> tuple[int, ...]:
    """Tell which kubectl it is: (1, 33) and so on."""
    shown = k.json("version", "--client")["clientVersion"]
    return int(shown["major"]), int(shown["minor"])
