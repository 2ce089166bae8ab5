"""kubectl of every minor makes, reads, changes and deletes objects."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clients.conftest import BOX
from tests.e2e.clients.programs import Program
from tests.e2e.node.machine import says
from tests.e2e.test_main_job import container

pytestmark = pytest.mark.e2e


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    metadata = {"name": name} | ({"labels": labels} if labels else {})
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    return made | ({"data": data} if data else {})


def template(name: str, **more: Any) -> dict[str, Any]:
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container("sleep 3600")], **more}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def deployment(name: str, replicas: int = 0) -> dict[str, Any]:
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": name}},
        "template": template(name),
    }
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def test_apply_creates_changes_and_prunes_fields(k: Program) -> None:
    assert k("apply", "-f", "-", stdin=k.text(config("applied", a="1", b="2"))) == (
        "configmap/applied created\n"
    )
    again = k("apply", "-f", "-", stdin=k.text(config("applied", a="1", c="3")))
    assert again == "configmap/applied configured\n"
    assert k.json("get", "cm", "applied")["data"] == {"a": "1", "c": "3"}
    assert "unchanged" in k("apply", "-f", "-", stdin=k.text(config("applied", a="1", c="3")))
    last = k("apply", "view-last-applied", "cm/applied", "-o", "json")
    assert json.loads(last)["data"] == {"a": "1", "c": "3"}
    pruned = k.text(config("kept", {"set": "p"}), config("pruned", {"set": "p"}))
    k("apply", "-f", "-", stdin=pruned)
    fewer = k.text(config("kept", {"set": "p"}))
    prune = ("--prune", "-l", "set=p", "--prune-allowlist=core/v1/ConfigMap")
    assert "configmap/pruned pruned" in k("apply", "-f", "-", *prune, stdin=fewer)


def test_apply_on_the_server_keeps_owners_of_fields(k: Program) -> None:
    text = k.text(config("owned", a="1"))
    apply = ("apply", "--server-side", "-f", "-")
    assert k(*apply, "--field-manager=one", stdin=text) == ("configmap/owned serverside-applied\n")
    other = k.text(config("owned", a="2", b="2"))
    said = k.fails(*apply, "--field-manager=two", stdin=other)
    assert 'conflict with "one": .data.a' in said
    k(*apply, "--field-manager=two", "--force-conflicts", stdin=other)
    k(*apply, "--field-manager=one", stdin=k.text(config("owned")))
    shown = k.json("get", "cm", "owned", "--show-managed-fields")
    assert shown["data"] == {"a": "2", "b": "2"}
    assert [m["manager"] for m in shown["metadata"]["managedFields"]] == ["two"]


@pytest.mark.conformance("Kubectl client Kubectl diff should check if kubectl diff finds...")
def test_diff_shows_what_would_change(k: Program) -> None:
    k("apply", "-f", "-", stdin=k.text(deployment("differs")))
    assert k("diff", "-f", "-", stdin=k.text(deployment("differs"))) == ""
    changed = deployment("differs")
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "kpy.local/busybox:2"
    done = k.run("diff", "-f", "-", stdin=k.text(changed))
    assert done.returncode == 1
    marked = {line.replace(" ", "") for line in done.stdout.splitlines()}
    assert {"-image:kpy.local/busybox:1", "+image:kpy.local/busybox:2"} <= marked
    on_server = k.run("diff", "--server-side", "-f", "-", stdin=k.text(changed))
    assert on_server.returncode == 1, on_server.stderr
    assert "image: kpy.local/busybox:2" in on_server.stdout


CREATED = (
    ("configmap", "made", "--from-literal=a=1"),
    ("secret", "generic", "made", "--from-literal=a=1"),
    ("secret", "docker-registry", "made-pull", "--docker-username=u", "--docker-password=p"),
    ("serviceaccount", "made"),
    ("role", "made", "--verb=get", "--resource=pods"),
    ("rolebinding", "made", "--role=made", "--user=jane"),
    ("service", "clusterip", "made", "--tcp=80:8080"),
    ("service", "nodeport", "made-port", "--tcp=80"),
    ("service", "externalname", "made-name", "--external-name=example.com"),
    ("deployment", "made", "--image=kpy.local/busybox:1", "--replicas=0"),
    ("cronjob", "made", "--image=kpy.local/busybox:1", "--schedule=0 0 1 1 *"),
    ("ingress", "made", "--class=elsewhere", "--rule=example.com/=made:80"),  # the node serves none
    ("poddisruptionbudget", "made", "--selector=app=made", "--min-available=1"),
    ("quota", "made", "--hard=services.loadbalancers=1"),
)


def test_create_makes_objects_of_many_kinds(k: Program) -> None:
    for arguments in CREATED:
        said = k("create", *arguments)
        assert said.endswith(" created\n"), arguments
    said = k.fails("create", *CREATED[0])
    assert 'configmaps "made" already exists' in said
    assert k.json("get", "secret", "made")["data"] == {"a": "MQ=="}
    assert k.json("get", "cronjob", "made")["spec"]["schedule"] == "0 0 1 1 *"
    tried = k.json("create", "configmap", "tried", "--dry-run=server")
    assert tried["metadata"]["uid"]
    assert '"tried" not found' in k.fails("get", "cm", "tried")
    named = k("create", "-f", "-", stdin=k.text(generated("many-")))
    assert named.startswith("configmap/many-")
    wrong = config("wrong") | {"colour": "blue"}
    said = k.fails("create", "-f", "-", stdin=k.text(wrong))
    assert 'unknown field "colour"' in said


def generated(prefix: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": prefix}}


def test_patches_of_three_types_change_an_object(k: Program) -> None:
    k("create", "-f", "-", stdin=k.text(deployment("patched")))
    second = {"name": "d", "image": "kpy.local/busybox:1"}
    strategic = {"spec": {"template": {"spec": {"containers": [second]}}}}
    k("patch", "deployment", "patched", "-p", json.dumps(strategic))
    merge = {"metadata": {"labels": {"app": None, "new": "1"}}}
    k("patch", "deployment", "patched", "--type=merge", "-p", json.dumps(merge))
    test = {"op": "test", "path": "/spec/replicas", "value": 0}
    add = {"op": "add", "path": "/metadata/annotations/note", "value": "x"}
    k("patch", "deployment", "patched", "--type=json", "-p", json.dumps([test, add]))
    shown = k.json("get", "deployment", "patched")
    names = [c["name"] for c in shown["spec"]["template"]["spec"]["containers"]]
    assert names == ["d", "c"]
    assert shown["metadata"]["labels"] == {"new": "1"}
    assert shown["metadata"]["annotations"]["note"] == "x"
    failing = json.dumps([test | {"value": 9}])
    said = k.fails("patch", "deployment", "patched", "--type=json", "-p", failing)
    assert "the server rejected our request due to an error in our request" in said
    k("patch", "deployment", "patched", "--subresource=scale", "--type=merge", "-p",
      '{"spec":{"replicas":0}}')  # fmt: skip
    assert "patched (no change)" in k("patch", "deployment", "patched", "-p", "{}")


def test_an_object_is_edited_replaced_labelled_and_annotated(k: Program) -> None:
    k("create", "-f", "-", stdin=k.text(config("edited", a="before")))
    said = k("edit", "cm", "edited", KUBE_EDITOR="sed -i s/before/after/")
    assert said == "configmap/edited edited\n"
    assert k.json("get", "cm", "edited")["data"] == {"a": "after"}
    assert (
        "Edit cancelled, no changes made" in k.run("edit", "cm/edited", KUBE_EDITOR="true").stderr
    )

    replaced = k.json("get", "cm", "edited") | {"data": {"b": "2"}}
    assert k("replace", "-f", "-", stdin=k.text(replaced)) == "configmap/edited replaced\n"
    stale = k.fails("replace", "-f", "-", stdin=k.text(replaced))
    assert "the object has been modified" in stale
    uid = k.json("get", "cm", "edited")["metadata"]["uid"]
    k("replace", "--force", "-f", "-", stdin=k.text(config("edited", c="3")))
    assert k.json("get", "cm", "edited")["metadata"]["uid"] != uid

    k("annotate", "cm", "edited", "note=one", "other=two")
    k("annotate", "cm", "edited", "note=more", "other-", "--overwrite")
    assert k.json("get", "cm", "edited")["metadata"]["annotations"] == {"note": "more"}
    k(
        "set",
        "env",
        "deployment/none",
        "A=1",
        "--local",
        "-f",
        "-",
        stdin=k.text(deployment("none")),
    )


@pytest.mark.conformance("Kubectl client Kubectl label should update the label on a resource")
def test_a_label_is_set_shown_and_taken_away(k: Program) -> None:
    k("label", "pod", BOX, "testing-label=testing-label-value")
    shown = k("get", "pod", BOX, "-L", "testing-label", "--no-headers")
    assert shown.split()[-1] == "testing-label-value"
    assert "--overwrite is false" in k.fails("label", "pod", BOX, "testing-label=other")
    k("label", "pod", BOX, "testing-label-")
    assert "testing-label-value" not in k("get", "pod", BOX, "-L", "testing-label")


def test_lists_are_printed_in_every_form(k: Program) -> None:
    many = [config(f"form-{n}", {"form": "yes", "n": str(n)}, value=str(9 - n)) for n in range(5)]
    k("create", "-f", "-", stdin=k.text(*many))
    get = ("get", "cm", "-l", "form=yes")
    assert k(*get, "-o", "name").split() == [f"configmap/form-{n}" for n in range(5)]
    by_value = k(*get, "--sort-by=.data.value", "-o", "jsonpath={.items[*].metadata.name}")
    assert by_value == "form-4 form-3 form-2 form-1 form-0"
    columns = k(*get, "-o", "custom-columns=N:.metadata.name,V:.data.value")
    assert columns.splitlines()[:2] == ["N        V", "form-0   9"]
    assert k(*get, "-o", "go-template={{len .items}}") == "5"
    assert k(*get, "-o", "yaml").startswith("apiVersion: v1\nitems:\n")
    assert [i["data"]["value"] for i in k.json(*get)["items"]] == list("98765")
    assert k(*get, "--chunk-size=2", "--no-headers").count("form-") == 5
    assert k("get", "cm", "-l", "form,n notin (1,2)", "-o", "name").count("form-") == 3
    assert k("get", "cm", "--field-selector", "metadata.name=form-3", "-o", "name") == (
        "configmap/form-3\n"
    )
    assert "NAME     DATA   AGE   LABELS" in k(*get, "--show-labels")
    with k.running(*get, "--show-kind", "--output-watch-events", "-w") as watching:
        for n in range(5):
            assert f"configmap/form-{n}" in watching.until("ADDED")
    said = k.fails("get", "cm", "--field-selector=nothing=1")
    assert '"nothing" is not a known field selector' in said


def test_pods_are_shown_wide_and_by_their_fields(k: Program) -> None:
    wide = k("get", "pods", "-o", "wide", "--field-selector=status.phase=Running").splitlines()
    assert wide[0].split() == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED", "NODE",
        "READINESS", "GATES",
    ]  # fmt: skip
    assert next(line for line in wide if line.startswith(BOX)).split()[1] == "2/2"
    assert k("get", "pods", "--field-selector=spec.nodeName=nowhere") == ""
    assert BOX in k("get", "pods", "-A")
    assert k("get", "pod", BOX, "-o", "jsonpath={.spec.containers[?(@.name=='side')].command}") == (
        '["sleep","3600"]'
    )
    assert (
        k("get", "pod", BOX, "--subresource=status", "-o", "jsonpath={.status.phase}") == "Running"
    )


def test_a_watch_shows_changes_as_they_come(k: Program) -> None:
    k("create", "-f", "-", stdin=k.text(config("watched")))
    with k.running("get", "cm", "watched", "-w", "--output-watch-events", "-o", "json") as shown:
        shown.until("ADDED")
        k("label", "cm", "watched", "colour=blue")
        shown.until("MODIFIED")
        k("delete", "cm", "watched")
        shown.until("DELETED")


def test_deletion_cascades_as_it_is_told(k: Program) -> None:
    def names() -> list[str]:
        kinds = "deployments,replicasets,pods"
        return k("get", kinds, "-l", "app=cascade", "-o", "name").split()

    def make() -> None:
        k("create", "-f", "-", stdin=k.text(deployment("cascade", 1)))
        k("wait", "--for=condition=Available", "deployment/cascade", "--timeout=120s")

    make()
    k("delete", "deployment", "cascade", "--cascade=orphan")
    [replica_set, pod] = names()
    assert replica_set.startswith("replicaset.apps/cascade-")
    k("create", "-f", "-", stdin=k.text(deployment("cascade", 1)))
    k("wait", "--for=condition=Available", "deployment/cascade", "--timeout=120s")
    assert replica_set in names()
    k("delete", "deployment", "cascade", "--cascade=foreground", "--timeout=120s")
    assert names() == []
    make()
    said = k("delete", "deployments,pods", "-l", "app=cascade", "--wait=false")
    assert 'deployment.apps "cascade" deleted' in said
    k("wait", "--for=delete", "pods,replicasets", "-l", "app=cascade", "--timeout=120s")
    del pod


def test_a_pod_is_deleted_at_once(k: Program) -> None:
    k(
        "run",
        "stubborn",
        "--image=kpy.local/busybox:1",
        "--",
        "sh",
        "-c",
        "trap '' TERM; sleep 3600",
    )
    k("wait", "--for=condition=Ready", "pod/stubborn", "--timeout=120s")
    done = k.run("delete", "pod", "stubborn", "--force", "--grace-period=0")
    assert "Immediate deletion does not wait for confirmation" in done.stderr
    assert 'pod "stubborn" force deleted' in done.stdout
    assert '"stubborn" not found' in k.fails("get", "pod", "stubborn")
    assert k("delete", "pod", "stubborn", "--ignore-not-found") == ""


def test_a_kustomization_is_built_and_applied(k: Program, tmp_path: Path) -> None:
    rules = {
        "resources": ["base.yaml"],
        "namePrefix": "kust-",
        "commonAnnotations": {"by": "kustomize"},
        "configMapGenerator": [{"name": "gen", "literals": ["a=1"]}],
    }
    (tmp_path / "base.yaml").write_text(json.dumps(config("base", a="1")))
    (tmp_path / "kustomization.yaml").write_text(json.dumps(rules))
    assert "name: kust-base" in k("kustomize", str(tmp_path))
    applied = k("apply", "-k", str(tmp_path)).split()
    assert "configmap/kust-base" in applied
    assert any(word.startswith("configmap/kust-gen-") for word in applied)
    assert k.json("get", "cm", "kust-base")["metadata"]["annotations"]["by"] == "kustomize"
    assert k("delete", "-k", str(tmp_path)).count("deleted") == 2


def test_objects_of_a_custom_kind_are_applied_changed_and_explained(k: Program) -> None:
    group = f"{k.flags[1]}.example.com"
    text = {"type": "string", "description": "What is said."}
    spec = {"type": "object", "properties": {"text": text}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
        "additionalPrinterColumns": [{"name": "Said", "type": "string", "jsonPath": ".spec.text"}],
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"words.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "words", "kind": "Word", "shortNames": ["wo"]},
            "versions": [version],
        },
    }
    k("apply", "-f", "-", stdin=k.text(definition))
    k("wait", "--for=condition=Established", f"crd/words.{group}", "--timeout=120s")
    word = {"apiVersion": f"{group}/v1", "kind": "Word", "metadata": {"name": "w"}}
    k("apply", "-f", "-", stdin=k.text(word | {"spec": {"text": "one"}}))
    changed = k("apply", "-f", "-", stdin=k.text(word | {"spec": {"text": "two"}}))
    assert changed == f"word.{group}/w configured\n"
    k("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=k.text(word))
    k("patch", "word", "w", "--type=merge", "-p", '{"spec":{"text":"three"}}')
    table = k("get", "wo", "w").splitlines()
    assert [line.split() for line in table] == [["NAME", "SAID"], ["w", "three"]]
    k.says("What is said.", "explain", f"words.{group}.spec")
    wrong = k.fails("apply", "-f", "-", stdin=k.text(word | {"spec": {"colour": "blue"}}))
    assert 'unknown field "spec.colour"' in wrong
    k("delete", "crd", f"words.{group}", "--timeout=120s")
    gone = "the server doesn't have a resource type"
    says(lambda: k.run("get", f"words.{group}").stderr, gone)


@pytest.mark.conformance("Kubectl client Kubectl server-side dry-run should check...")
def test_a_dry_run_on_the_server_changes_nothing(k: Program) -> None:
    def box() -> Any:
        """Return what only requests change: the node may write the status at any time."""
        found = k.json("get", "pod", BOX)
        metadata = {key: found["metadata"].get(key) for key in ("uid", "labels", "generation")}
        return metadata, found["spec"], found["metadata"].get("deletionTimestamp")

    before = box()
    image = json.dumps({"spec": {"containers": [{"name": "c", "image": "kpy.local/busybox:2"}]}})
    tried = json.loads(k("patch", "pod", BOX, "--dry-run=server", "-p", image, "-o", "json"))
    assert tried["spec"]["containers"][0]["image"] == "kpy.local/busybox:2"
    assert box() == before
    k("delete", "pod", BOX, "--dry-run=server")
    assert box() == before
