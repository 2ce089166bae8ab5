"""What is read of the manifests folder, and what follows from it."""

import os

import pytest

from minikube_py.api.core import CONFIGMAPS, NAMESPACES
from minikube_py.lib.fsutil import make_dir
from minikube_py.server.manifests import files, plan
from minikube_py.server.manifests.plan import ADOPTED, FILE, FOLDER, MANAGER, Live, Target, label_of

TWO = b"""
apiVersion: v1
kind: ConfigMap
metadata: {name: a}
data: {when: 2024-01-01}
---
# nothing
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: x}}
"""
LATER = 10_000_000_000.0


def put(root, name, data=TWO):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read(root, *disabled, now=LATER):
    return files.read(root, disabled, now)


def names(folder):
    return [d.obj["metadata"]["name"] for s in folder.sources for d in s.documents]


def test_documents_and_lists_are_objects_and_times_stay_text():
    documents, problems = files.parse("f.yaml", TWO)
    assert problems == []
    assert [(d.number, d.obj["metadata"]["name"]) for d in documents] == [
        (1, "a"),
        (3, "b"),
        (3, "c"),
    ]
    assert documents[0].obj["data"] == {"when": "2024-01-01"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"a: b: c", "not valid YAML"),
        (b"- 1", "document 1: is no object but list"),
        (b"kind: A\nmetadata: {name: x}", "document 1: has no apiVersion"),
        (b"apiVersion: v1\nkind: A", "document 1: has no metadata.name"),
        (b"apiVersion: v1\nkind: A\nmetadata: {name: x, namespace: 3}", "metadata.namespace"),
        (b"\xff\xfe\xff", "not valid YAML"),
        (b"&a [*a]", "document 1"),
    ],
)
def test_a_mistake_is_told_with_its_document(data, why):
    documents, problems = files.parse("f.yaml", data)
    assert documents == []
    assert why in problems[0]


def test_files_of_all_folders_are_read_but_for_what_is_hidden_or_of_another_kind(tmp_path):
    for name in ("b.yaml", "a.json", "deep/er/c.yml", ".hidden.yaml", ".git/d.yaml", "notes.txt"):
        put(tmp_path, name)
    folder = read(tmp_path)
    assert [source.file for source in folder.sources] == ["a.json", "b.yaml", "deep/er/c.yml"]
    assert [path.relative_to(tmp_path).as_posix() for path in folder.folders] == [
        ".",
        "deep",
        "deep/er",
    ]


def test_what_is_skipped_stays_and_what_is_disabled_goes(tmp_path):
    put(tmp_path, "a.yaml")
    put(tmp_path, "a.yaml.skip", b"")
    put(tmp_path, "b.yaml")
    put(tmp_path, "metrics/c.yaml")
    skipped, disabled, below = read(tmp_path, "b", "metrics").sources
    assert (skipped.kept, skipped.documents) == (True, ())
    assert (disabled.kept, disabled.documents, disabled.problems) == (False, (), ())
    assert (below.kept, below.documents) == (False, ())


def test_a_file_that_has_just_been_written_is_not_read_yet(tmp_path):
    path = put(tmp_path, "a.yaml")
    os.utime(path, (1000.0, 1000.0))
    assert read(tmp_path, now=1000.5).young
    assert read(tmp_path, now=1000.5).sources[0].kept
    settled = read(tmp_path, now=1002.0)
    assert not settled.young
    assert names(settled) == ["a", "b", "c"]


def test_a_folder_that_cannot_be_seen_is_told(tmp_path):
    assert read(tmp_path / "gone").unseen == ["."]


def test_links_and_pipes_lead_nobody_astray(tmp_path):
    put(tmp_path, "real/a.yaml")
    (tmp_path / "real" / "loop").symlink_to(tmp_path)
    (tmp_path / "linked.yaml").symlink_to(tmp_path / "real" / "a.yaml")
    (tmp_path / "broken.yaml").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.yaml")
    broken, linked, real = read(tmp_path).sources
    assert broken.problems == ("cannot be read: No such file or directory",)
    assert (len(linked.documents), len(real.documents)) == (3, 3)


def test_a_folder_keeps_its_identity(tmp_path):
    first = files.identity(tmp_path)
    assert files.identity(tmp_path) == first != files.identity(make_dir(tmp_path / "other"))


def test_labels_of_files_are_valid_and_differ():
    labels = {label_of(name) for name in ("a.yaml", "a-yaml", "x/a.yaml", "ä" * 300, "_", "é.yaml")}
    assert len(labels) == 6
    assert all(len(label) <= 63 and label[0].isalnum() for label in labels)


def live(name, file="f.yaml", manager=MANAGER, resource=CONFIGMAPS):
    fields = [{"manager": manager, "operation": "Apply"}]
    metadata = {"name": name, "labels": {FILE: label_of(file)}, "managedFields": fields}
    return Live(Target(resource, "default", name), {"metadata": metadata})


def test_only_what_we_have_applied_is_ours():
    assert plan.is_ours(live("a").obj)
    assert not plan.is_ours(live("a", manager="kubectl").obj)
    assert not plan.is_ours({"metadata": {"name": "a"}})


def test_what_no_file_asks_for_is_pruned_and_namespaces_last(tmp_path):
    put(tmp_path, "f.yaml")
    folder = read(tmp_path)
    found = [live("n", resource=NAMESPACES), live("a"), live("old")]
    wanted = [Target(CONFIGMAPS, "default", "a").identity]
    pruned = [one.target.name for one in plan.surplus(folder, wanted, found)]
    assert pruned == ["old", "n"]


def test_what_a_file_brought_stays_while_the_file_cannot_be_read(tmp_path):
    put(tmp_path, "f.yaml", b"a: b: c")
    folder = read(tmp_path)
    found = [live("a"), live("b", file="gone.yaml")]
    assert [one.target.name for one in plan.surplus(folder, [], found)] == ["b"]


def test_the_configuration_says_where_it_comes_from():
    (document, *_), _ = files.parse("f.yaml", TWO)
    applied = plan.configuration(document, "default", "x", adopted=False)
    assert applied["metadata"] == {
        "name": "a",
        "namespace": "default",
        "labels": {FILE: label_of("f.yaml")},
        "annotations": {FOLDER: "x"},
    }
    adopted = plan.configuration(document, "default", "x", adopted=True)
    assert adopted["metadata"]["annotations"] == {FOLDER: "x", ADOPTED: "true"}


def test_an_object_that_stands_twice_is_told():
    documents, _ = files.parse("f.yaml", TWO)
    target = plan.target_of(documents[0], CONFIGMAPS)
    assert target == Target(CONFIGMAPS, "default", "a")
    ((second, text),) = plan.duplicates([(documents[0], target), (documents[1], target)])
    assert second is documents[1]
    assert text == "the same object stands in f.yaml, document 1; remove one of them"
