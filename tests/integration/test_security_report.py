"""`kpy security report`: a server as it comes has no fail, and what is loosened is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.program import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path, "--disable-scheduler")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def items(text: str) -> dict[str, tuple[str, str]]:
    """Return state and text of each item of a report."""
    found = {}
    for line in text.splitlines():
        state, _, rest = line.partition(" ")
        number, _, why = rest.strip().partition(" ")
        if "." in number:
            found[number] = (state, why)
    return found


def test_a_server_as_it_comes_fails_nothing(server: Server) -> None:
    server.start()
    found = items(server.kpy("security", "report"))
    assert len(found) > 110
    assert not {number: why for number, (state, why) in found.items() if state == "FAIL"}
    for number in ("1.1.11", "1.1.13", "1.1.21", "1.2.1", "1.2.6", "1.2.27", "1.2.29", "1.3.5"):
        assert found[number][0] == "PASS", found[number]
    assert all(why.strip() for _, why in found.values())


def test_what_was_loosened_is_found(server: Server) -> None:
    server.flags += ("--anonymous-auth", "--audit-log-path=none")
    server.start()
    (server.folder / "kubeconfig").chmod(0o644)
    (server.folder / "data" / "server" / "tls" / "admin.key").chmod(0o640)
    server.kpy("secrets-encrypt", "disable")
    found = items(server.kpy("security", "report", status=1))
    for number in ("1.1.13", "1.1.21", "1.2.1", "1.2.16", "1.2.27"):
        assert found[number][0] == "FAIL", found[number]
    assert "admin.key is 0640" in found["1.1.21"][1]


def test_the_profile_of_the_benchmark_leaves_little_to_the_owner(server: Server) -> None:
    server.flags += ("--profile=cis",)
    server.start()
    found = items(server.kpy("security", "report"))
    for number in ("1.2.9", "1.2.19", "5.2.1", "5.2.2", "5.7.3"):
        assert found[number][0] == "PASS", found[number]
    assert found["1.2.11"][0] == "WARN"
    pod = ("run", "--image=registry.example/a", "--dry-run=server", "a", "-n")
    assert "violates PodSecurity" in server.refused(*pod, "default")
    server.kubectl("create", "namespace", "loose")
    server.kubectl("label", "namespace", "loose", "pod-security.kubernetes.io/enforce=privileged")
    found = items(server.kpy("security", "report"))
    assert "loose" in found["5.2.1"][1]
