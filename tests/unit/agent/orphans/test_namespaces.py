"""Which network namespaces belong to nobody."""

import json
from pathlib import Path

import pytest

from minikube_py.agent.cri.records import network_namespaces
from minikube_py.agent.orphans import namespaces

A, B, C = map(Path, "abc")


def spec(*spaces: dict[str, str]) -> bytes:
    return json.dumps({"linux": {"namespaces": spaces}}).encode()


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (spec({"type": "network", "path": "/run/a"}, {"type": "pid", "path": "/b"}), ["/run/a"]),
        (spec({"type": "network"}), []),
        (b"{}", []),
        (b"", []),
    ],
)
def test_a_specification_names_its_network_namespace(written, found):
    assert list(map(str, network_namespaces(written))) == found


def test_what_was_there_before_and_stands_in_no_book_is_an_orphan():
    books = [spec({"type": "network", "path": "a"}), spec({"type": "pid"}), b""]
    assert namespaces.orphans([C, A, B], books) == [B, C]
    assert namespaces.orphans([A], books) == []


def test_books_that_cannot_be_read_are_an_error_and_matter_only_if_something_was_there():
    with pytest.raises(ValueError, match="Expecting"):
        namespaces.orphans([A], [b"{"])
    assert namespaces.orphans([], [b"{"]) == []


def test_those_that_are_there_are_listed_and_removed(tmp_path):
    assert namespaces.listed(tmp_path) == frozenset()
    path = tmp_path / namespaces.FOLDER / "cni-1"
    path.parent.mkdir(parents=True)
    path.touch()
    assert namespaces.listed(tmp_path) == {path}
    namespaces.remove(path)
    namespaces.remove(path)
    assert namespaces.listed(tmp_path) == frozenset()
