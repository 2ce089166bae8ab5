"""Server-side apply: recorded exchanges of upstream replayed without a server, and laws."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import field_sets, managed_fields, managed_fields_scale, schema
from minikube_py.api.apply import LAST_APPLIED, TypedPatchError, apply
from minikube_py.api.apply_merge import merge, remove
from minikube_py.api.errors import BadRequestError, ConflictError, StatusError
from minikube_py.api.field_walks import field_set
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.managed_fields import Writer
from minikube_py.api.object import evolve, get
from minikube_py.api.schema_check import check
from minikube_py.api.schema_complete import complete
from minikube_py.api.scheme import Scheme

WIRE = Path(__file__).resolve().parents[4] / "shared/wire"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SCHEME = Scheme(BUILTIN)
CONFIGMAP = schema.type_of("io.k8s.api.core.v1.ConfigMap")
DEPLOYMENT = schema.type_of("io.k8s.api.apps.v1.Deployment")


def writer(manager, later=0, **rest):
    now = NOW + timedelta(seconds=later)
    return Writer(manager=manager, api_version=rest.pop("version", "v1"), now=now, **rest)


# --- recorded exchanges ---------------------------------------------------------------------------

NEEDS_A_SERVER = {
    # The number of replicas is written through the scale subresource in between.
    "patch-apply-containers": range(7, 99),
    # A precondition on the resourceVersion is the registry's.
    "patch-apply-errors": (7,),
}


def scenarios():
    listed = yaml.safe_load((WIRE / "scenarios/patch.public.yaml").read_text())
    golden = json.loads((WIRE / "golden/patch.public.json").read_text())["scenarios"]
    for scenario in listed:
        name = scenario["id"]
        if name.startswith("patch-apply-"):
            steps = list(zip(scenario["steps"], golden[name]["steps"], strict=True))
            yield pytest.param(name, steps, id=name)


def body_of(step):
    body = (
        yaml.safe_load(step["raw"]) if step.get("raw") not in (None, "a: [") else step.get("body")
    )
    if not isinstance(body, dict) or "kind" not in body or "metadata" not in body:
        return None
    return json.loads(json.dumps(body).replace("{{ns}}", "<u>").replace("{{u}}", "<u>"))


def perform(step, body, live, later):
    """Do what a server does with a step, as far as managed fields are concerned."""
    subresource = "status" if step["path"].endswith("/status") else ""
    query = step.get("query") or {}
    resource = SCHEME.by_kind(body["apiVersion"], body["kind"])
    kind = schema.type_of(resource.schema)
    who = writer(
        query.get("fieldManager", "wirecorpus"),
        later,
        version=resource.api_version,
        subresource=subresource,
        ignored=managed_fields.reset_of(resource, subresource),
    )
    if step["method"] == "POST":
        new = complete(kind, resource.default(check(kind, body).obj))
        return evolve(managed_fields.track_update(kind, None, new, who), "metadata.uid", "u")
    new = apply(kind, live, body, who, force=query.get("force") == "true")
    return evolve(complete(kind, resource.default(new)), "metadata.uid", "u")


def is_replayed(name, number, step, golden):
    if number in NEEDS_A_SERVER.get(name, ()) or golden.get("status") in (400, 404, 422):
        return False
    content = (step.get("headers") or {}).get("Content-Type", "")
    is_apply = content.endswith("apply-patch+yaml") and "/scale" not in step["path"]
    return step["method"] == "POST" or is_apply


def shown(entries):
    return sorted(
        json.dumps({k: v for k, v in entry.items() if k != "time"}, sort_keys=True)
        for entry in entries or ()
    )


@pytest.mark.parametrize(("name", "steps"), list(scenarios()))
def test_recorded_applies_give_the_recorded_owners(name, steps):
    stored = {}
    for number, (step, golden) in enumerate(steps):
        body = body_of(step)
        if body is None or not is_replayed(name, number, step, golden):
            continue
        key = (body["kind"], body["metadata"]["name"])
        answer = golden.get("body") or {}
        if golden["status"] not in (200, 201):
            with pytest.raises(StatusError) as caught:
                perform(step, body, stored.get(key), number)
            error = caught.value
            assert (error.code, error.message) == (golden["status"], answer["message"])
            assert error.details == answer.get("details", {})
            continue
        stored[key] = perform(step, body, stored.get(key), number)
        if answer:
            recorded = answer["metadata"].get("managedFields")
            assert shown(stored[key]["metadata"].get("managedFields")) == shown(recorded)


# --- rules ----------------------------------------------------------------------------------------


def configmap(**data):
    head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    return {**head, "data": data} if data else head


def stored(obj):
    return evolve(complete(CONFIGMAP, obj), "metadata.uid", "u")


def test_what_is_applied_no_longer_is_removed_unless_another_owns_it():
    one = stored(apply(CONFIGMAP, None, configmap(x="1", y="1"), writer("one")))
    both = stored(apply(CONFIGMAP, one, configmap(y="1"), writer("two")))
    done = apply(CONFIGMAP, both, configmap(), writer("one"))
    assert done["data"] == {"y": "1"}


def test_what_was_never_applied_stays():
    live = managed_fields.track_update(CONFIGMAP, None, configmap(z="9"), writer("user"))
    done = apply(CONFIGMAP, stored(live), configmap(x="1"), writer("one"))
    assert done["data"] == {"z": "9", "x": "1"}


def test_a_conflict_names_the_manager_and_the_field():
    live = stored(apply(CONFIGMAP, None, configmap(x="1", y="1"), writer("one")))
    with pytest.raises(ConflictError) as caught:
        apply(CONFIGMAP, live, configmap(x="2", y="2"), writer("two"))
    assert caught.value.message == (
        'Apply failed with 2 conflicts: conflicts with "one":\n- .data.x\n- .data.y'
    )
    assert caught.value.details["causes"][0] == {
        "reason": "FieldManagerConflict",
        "message": 'conflict with "one"',
        "field": ".data.x",
    }


def test_force_takes_the_field_over():
    live = stored(apply(CONFIGMAP, None, configmap(x="1"), writer("one")))
    done = apply(CONFIGMAP, live, configmap(x="2"), writer("two"), force=True)
    (entry,) = done["metadata"]["managedFields"]
    assert (entry["manager"], done["data"]) == ("two", {"x": "2"})


def test_an_apply_that_changes_no_field_has_no_time():
    live = stored(apply(CONFIGMAP, None, configmap(x="1"), writer("one")))
    done = apply(CONFIGMAP, live, configmap(x="1"), writer("two", 5))
    times = {e["manager"]: e.get("time") for e in done["metadata"]["managedFields"]}
    assert times == {"one": "2026-01-02T03:04:05Z", "two": None}


def test_an_object_that_nobody_applied_to_belongs_to_a_manager_of_that_name():
    live = stored(configmap(x="1"))
    with pytest.raises(ConflictError, match='conflict with "before-first-apply" using v1'):
        apply(CONFIGMAP, live, configmap(x="2"), writer("one"))


def test_kubectl_may_take_over_what_it_applied_on_the_client_side():
    last = json.dumps(configmap(x="1"))
    live = evolve(stored(configmap(x="1")), LAST_APPLIED, last)
    live = managed_fields.track_update(CONFIGMAP, None, live, writer("kubectl-client-side-apply"))
    done = apply(CONFIGMAP, live, configmap(x="2"), writer("kubectl"))
    assert done["data"] == {"x": "2"}
    assert json.loads(get(done, LAST_APPLIED)) == configmap(x="2")
    with pytest.raises(ConflictError):
        apply(CONFIGMAP, live, configmap(x="2"), writer("other"))


def test_a_configuration_with_managed_fields_is_refused():
    body = evolve(configmap(), "metadata.managedFields", [])
    with pytest.raises(BadRequestError, match=r"^metadata\.managedFields must be nil$"):
        apply(CONFIGMAP, None, body, writer("one"))


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"bogus": 1}, ".bogus: field not declared in schema"),
        ({"data": {"x": 5}}, ".data.x: expected string, got &value.valueUnstructured{Value:5}"),
        ({"data": []}, ".data: expected map, got &value.valueUnstructured{Value:[]interface {}{}}"),
        (
            {"immutable": "x"},
            '.immutable: expected boolean, got &value.valueUnstructured{Value:"x"}',
        ),
    ],
)
def test_a_configuration_that_does_not_fit_its_kind_is_refused(body, problem):
    with pytest.raises(TypedPatchError) as caught:
        apply(CONFIGMAP, None, {**configmap(), **body}, writer("one"))
    text = f"failed to create typed patch object (/a; /v1, Kind=ConfigMap): {problem}"
    assert (caught.value.code, caught.value.message) == (500, text)


def test_elements_of_both_lists_keep_their_order():
    def containers(*names):
        spec = {"containers": [{"name": name} for name in names]}
        return {"spec": {"template": {"spec": spec}}}

    merged = merge(DEPLOYMENT, containers("a", "x", "b"), containers("b", "n", "a"))
    names = [c["name"] for c in merged["spec"]["template"]["spec"]["containers"]]
    assert names == ["x", "b", "n", "a"]


def test_a_write_of_the_scale_moves_the_ownership_of_the_replicas():
    fields = field_sets.of_paths(("spec", "replicas"), ("spec", "paused"))
    parent = [managed_fields.Entry("one", "Apply", "apps/v1", "", "", fields)]
    path = ("spec", "replicas")
    (scale,) = managed_fields_scale.to_scale(parent, path)
    assert scale.fields == {"f:spec": {"f:replicas": {}}}
    assert managed_fields_scale.to_parent(parent, [scale], path, "apps/v1") == parent
    taken = managed_fields.Entry("two", "Update", "autoscaling/v1", "scale", "", scale.fields)
    left, new = managed_fields_scale.to_parent(parent, [taken], path, "apps/v1")
    assert left.fields == {"f:spec": {"f:paused": {}}}
    assert (new.manager, new.api_version, new.fields) == ("two", "apps/v1", scale.fields)


# --- laws -----------------------------------------------------------------------------------------

DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
STEPS = st.lists(st.tuples(st.sampled_from(["one", "two"]), DATA), min_size=1, max_size=6)


def run(steps):
    live = None
    for number, (manager, data) in enumerate(steps):
        done = apply(CONFIGMAP, live, configmap(**data), writer(manager, number), force=True)
        live = done if done is live else stored(done)
    return live


@given(STEPS)
def test_to_apply_twice_is_to_apply_once(steps):
    live = run(steps)
    manager, data = steps[-1]
    again = apply(CONFIGMAP, live, configmap(**data), writer(manager, 99), force=True)
    if live["metadata"].get("managedFields"):
        assert again is live
    assert again.get("data") == live.get("data")


@given(STEPS)
def test_the_object_holds_what_was_applied_and_only_what_somebody_applies(steps):
    live = run(steps)
    last = dict(steps)
    assert steps[-1][1].items() <= live.get("data", {}).items()
    assert set(live.get("data", {})) <= {key for data in last.values() for key in data}


POD_SPECS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("12")), max_size=4, unique_by=lambda c: c[0]
).map(
    lambda pairs: {
        "spec": {"template": {"spec": {"containers": [{"name": n, "image": i} for n, i in pairs]}}}
    }
)


@given(POD_SPECS, POD_SPECS)
def test_a_merge_holds_both_and_the_applied_one_wins(live, applied):
    merged = merge(DEPLOYMENT, live, applied)
    path = "spec.template.spec.containers"
    images = {c["name"]: c["image"] for c in get(merged, path)}
    before = {c["name"]: c["image"] for c in get(live, path)}
    assert images == {**before, **{c["name"]: c["image"] for c in get(applied, path)}}
    assert merge(DEPLOYMENT, merged, applied) == merged
    order = [c["name"] for c in get(merged, path)]
    wanted = [c["name"] for c in get(applied, path)]
    assert [name for name in order if name in wanted] == wanted


@given(POD_SPECS)
def test_to_remove_every_field_leaves_nothing(obj):
    left = remove(DEPLOYMENT, obj, field_set(DEPLOYMENT, obj))
    assert not get(left, "spec.template.spec.containers")


def test_an_apply_of_what_its_endpoint_resets_changes_nothing_however_late_it_comes():
    deployments = SCHEME.by_kind("apps/v1", "Deployment")
    ignored = managed_fields.reset_of(deployments)
    configuration = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d"},
        "spec": {"replicas": 1},
    }
    one = writer("one", version="apps/v1", ignored=ignored)
    created = apply(DEPLOYMENT, None, configuration, one)
    other = writer("ctl", 1, version="apps/v1", subresource="status")
    live = apply(DEPLOYMENT, created, evolve(configuration, "status.replicas", 4), other)
    late = writer("one", 2, version="apps/v1", ignored=ignored)
    again = apply(DEPLOYMENT, live, evolve(configuration, "status.replicas", 7), late)
    assert again is live
