"""What `kpy history` and `kpy get --at` make of words and of two versions of an object."""

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from minikube_py.cli import get, kubectl, versions
from minikube_py.cli.looking_back import Kind, kind_and_name, moment
from minikube_py.lib.errors import StartError


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("42", {"revision": "42"}),
        ("2026-01-02T03:04:05Z", {"time": "2026-01-02T03:04:05Z"}),
        ("10m", {"ago": "10m"}),
        ("-10m", {"ago": "10m"}),
    ],
)
def test_a_moment_is_a_revision_a_time_or_how_long_ago(text: str, query: dict[str, str]) -> None:
    assert moment(text) == query


def test_kind_and_name_are_two_words_or_one() -> None:
    assert kind_and_name(("deploy", "web")) == ("deploy", "web")
    assert kind_and_name(("deploy/web",)) == ("deploy", "web")
    assert kind_and_name(("deploy",)) == ("deploy", "")
    with pytest.raises(StartError, match="KIND NAME"):
        kind_and_name(("a", "b", "c"))


def test_paths_of_the_api() -> None:
    pods, nodes = Kind("/api/v1", "pods", True), Kind("/api/v1", "nodes", False)  # noqa: FBT003
    assert pods.path("a", "b") == "/api/v1/namespaces/a/pods/b"
    assert pods.path("") == "/api/v1/pods"
    assert nodes.path("a", "b") == "/api/v1/nodes/b"


def test_get_without_a_time_is_kubectl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[Any] = []
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr(kubectl, "find_kubectl", lambda: "/bin/kubectl")
    monkeypatch.setattr(os, "execve", lambda _path, words, _environ: ran.extend(words))
    result = CliRunner().invoke(get.command, ["pods", "-n", "a", "-o", "jsonpath={.items}"])
    assert result.exit_code == 0, result.output
    assert ran == ["kubectl", "get", "pods", "-n", "a", "-o", "jsonpath={.items}"]


def obj(replicas: int, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", **metadata}, "spec": {"replicas": replicas, "on": [1, 2]}}


def item(revision: int, event: str, found: dict[str, Any]) -> dict[str, Any]:
    return {"revision": str(revision), "event": event, "object": found}


def test_a_change_is_told_by_its_fields_and_noise_is_left_out() -> None:
    old = item(1, "Created", obj(1, resourceVersion="1", managedFields=[{"manager": "a"}]))
    new = item(2, "Updated", obj(2, resourceVersion="2", managedFields=[{"manager": "b"}]))
    assert versions.summary(new, old) == "spec.replicas"
    assert versions.manager(new, old) == "b"
    assert versions.summary(old, None) == ""
    assert versions.summary(new, None) == "(what was before is not kept)"
    changed = [line for line in versions.difference(new, old) if line[:1] in "+-"]
    assert changed[2:] == ["-  replicas: 1", "+  replicas: 2"]
    assert list(versions.coloured(["-a", "+b", " c"])) == [
        "\033[31m-a\033[0m",
        "\033[32m+b\033[0m",
        " c",
    ]


def test_paths_of_keys_with_dots_are_quoted_and_lists_have_places() -> None:
    old = {"labels": {"a.b/c": "1"}, "list": [{"x": 1}, 2], "gone": 1}
    new = {"labels": {"a.b/c": "2"}, "list": [{"x": 3}, 2]}
    assert list(versions.changed_paths(old, new)) == ["gone", 'labels."a.b/c"', "list[0].x"]
