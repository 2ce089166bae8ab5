"""helm, as it is published, manages a chart with hooks, tests and a kind of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.programs import Program, helm
from tests.e2e.cluster import Cluster

pytestmark = pytest.mark.e2e
CHART = str(Path(__file__).with_name("charts") / "web")
WAIT = ("--wait", "--timeout", "120s")


@pytest.fixture
def program(cluster: Cluster, tmp_path: Path) -> Iterator[Program]:
    """Give a test helm, and take away what helm never does: the kinds that charts bring."""
    yield helm(cluster, tmp_path)
    cluster.kubectl("delete", "crd", "pages.charts.example.com", "--ignore-not-found")


def listed(program: Program, namespace: str) -> Any:
    return json.loads(program("list", "-n", namespace, "-o", "json"))


def history(program: Program, namespace: str) -> list[tuple[int, str]]:
    """Return the revisions of the release and their states."""
    shown = json.loads(program("history", "page", "-n", namespace, "-o", "json"))
    return [(revision["revision"], revision["status"]) for revision in shown]


def page(cluster: Cluster, namespace: str) -> str:
    """Return what the chart's ConfigMap and its custom object agree on."""
    shown = cluster.get("configmap", "page", "-n", namespace)["data"]["index.html"]
    custom = cluster.get("pages.charts.example.com", "page", "-n", namespace)["spec"]["text"]
    assert shown == custom
    return str(shown)


def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(
    cluster: Cluster, namespace: str, program: Program
) -> None:
    installed = program("install", "page", CHART, "-n", namespace, *WAIT)
    assert "STATUS: deployed" in installed
    assert "The page is first." in installed
    assert cluster.get("deployment", "page", "-n", namespace)["status"]["availableReplicas"] == 1
    assert cluster.get("job", "page-pre-install", "-n", namespace)["status"]["succeeded"] == 1
    assert "Phase:          Succeeded" in program("test", "page", "-n", namespace)

    program("upgrade", "page", CHART, "-n", namespace, "--set", "page=second,replicas=2", *WAIT)
    assert page(cluster, namespace) == "second"
    deployment = cluster.get("deployment", "page", "-n", namespace)
    assert deployment["status"]["updatedReplicas"] == 2
    assert deployment["status"]["availableReplicas"] == 2
    assert cluster.get("job", "page-post-upgrade", "-n", namespace)["status"]["succeeded"] == 1
    assert history(program, namespace) == [(1, "superseded"), (2, "deployed")]

    program("rollback", "page", "1", "-n", namespace, *WAIT)
    assert page(cluster, namespace) == "first"
    assert history(program, namespace)[-1] == (3, "deployed")
    assert cluster.get("deployment", "page", "-n", namespace)["spec"]["replicas"] == 1

    gone = program("uninstall", "page", "-n", namespace, *WAIT)
    assert 'release "page" uninstalled' in gone
    assert listed(program, namespace) == []
    assert cluster.get("deployments,services,secrets,pages", "-n", namespace)["items"] == []
    names = [item["metadata"]["name"] for item in cluster.get("cm", "-n", namespace)["items"]]
    assert names == ["kube-root-ca.crt"]


def test_an_upgrade_that_never_gets_ready_is_taken_back(
    cluster: Cluster, namespace: str, program: Program
) -> None:
    program("upgrade", "--install", "page", CHART, "-n", namespace, *WAIT)
    never = ("--set", "page=bad,ready=false", "--rollback-on-failure", "--timeout", "10s")
    said = program.fails("upgrade", "page", CHART, "-n", namespace, *never)
    assert "has been rolled back due to rollback-on-failure being set" in said
    states = [(1, "superseded"), (2, "failed"), (3, "deployed")]
    assert history(program, namespace) == states
    assert page(cluster, namespace) == "first"


def test_a_hook_that_fails_keeps_a_release_from_being_installed(
    cluster: Cluster, namespace: str, program: Program
) -> None:
    said = program.fails("install", "page", CHART, "-n", namespace, "--set", "check=false", *WAIT)
    assert "failed pre-install" in said
    assert history(program, namespace) == [(1, "failed")]
    assert cluster.get("deployments", "-n", namespace)["items"] == []


def test_a_release_is_shown_and_its_chart_looked_at(
    cluster: Cluster, namespace: str, program: Program
) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in program("lint", CHART)
    assert "replicas: 7" in program("template", "page", CHART, "--set", "replicas=7")
    cluster.kubectl("apply", "-f", "-", stdin=program("show", "crds", CHART))
    cluster.kubectl("wait", "--for=condition=Established", "crd/pages.charts.example.com")
    tried = program("install", "page", CHART, "-n", namespace, "--dry-run=server")
    assert "STATUS: pending-install" in tried
    assert cluster.get("deployments,secrets", "-n", namespace)["items"] == []
    wrong = program.fails("install", "page", CHART, "-n", namespace, "--set", "replicas=-1")
    assert "at '/replicas': minimum: got -1, want 0" in wrong

    program("install", "page", CHART, "-n", namespace, "--no-hooks", "--set", "replicas=0", *WAIT)
    [release] = listed(program, namespace)
    assert release["name"] == "page"
    assert release["status"] == "deployed"
    assert release["chart"] == "web-0.1.0"
    status = program("status", "page", "-n", namespace)
    assert "==> v1/Deployment\nNAME" in status
    manifest = program("get", "manifest", "page", "-n", namespace)
    assert manifest.count("\nkind: ") == 4
    assert cluster.kubectl("diff", "-n", namespace, "-f", "-", stdin=manifest) == ""
    assert "helm.sh/hook: pre-install" in program("get", "hooks", "page", "-n", namespace)
    assert "replicas: 0" in program("get", "values", "page", "-n", namespace)
    kept = cluster.get("secret", "sh.helm.release.v1.page.v1", "-n", namespace)
    assert kept["type"] == "helm.sh/release.v1"
