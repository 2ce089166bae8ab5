"""Managed fields: who owns what after creates and updates."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api import field_sets, managed_fields, schema
from minikube_py.api.managed_fields import Writer, manager_name, reset_fields, track_update
from minikube_py.api.object import evolve, get
from minikube_py.api.schema_check import check
from minikube_py.api.schema_complete import complete

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEPLOYMENT = schema.type_of("io.k8s.api.apps.v1.Deployment")
CONFIGMAP = schema.type_of("io.k8s.api.core.v1.ConfigMap")
SERVICE = schema.type_of("io.k8s.api.core.v1.Service")


def writer(manager="m", *, later=0, version="v1", **rest):
    now = NOW + timedelta(seconds=later)
    return Writer(manager=manager, api_version=version, now=now, **rest)


def configmap(**data):
    return {"metadata": {"name": "a", "uid": "u"}, "data": data}


def owned(obj):
    """Return the fields by manager."""
    entries = obj["metadata"].get("managedFields", ())
    return {entry["manager"]: entry["fieldsV1"] for entry in entries}


def test_a_creator_owns_what_it_gave_and_what_defaults_added():
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    new = complete(DEPLOYMENT, {"metadata": {"name": "d"}, "spec": spec})
    done = track_update(DEPLOYMENT, None, new, writer(ignored=reset_fields(("status",))))
    (entry,) = done["metadata"]["managedFields"]
    assert entry == {
        "manager": "m",
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-02T03:04:05Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                    "f:spec": {
                        "f:containers": {
                            'k:{"name":"c"}': {
                                ".": {},
                                "f:name": {},
                                "f:image": {},
                                "f:ports": {
                                    ".": {},
                                    'k:{"containerPort":80,"protocol":"TCP"}': {
                                        ".": {},
                                        "f:containerPort": {},
                                        "f:protocol": {},
                                    },
                                },
                                "f:resources": {},
                            }
                        }
                    },
                },
            }
        },
    }


def test_who_changes_a_field_takes_it_from_all_others():
    first = track_update(CONFIGMAP, None, configmap(x="1", y="1"), writer("one"))
    second = track_update(CONFIGMAP, first, evolve(first, "data.x", "2"), writer("two", later=1))
    assert owned(second) == {
        "one": {"f:data": {".": {}, "f:y": {}}},
        "two": {"f:data": {"f:x": {}}},
    }


def test_a_field_that_vanishes_belongs_to_nobody():
    first = track_update(CONFIGMAP, None, configmap(x="1"), writer("one"))
    gone = {key: value for key, value in first.items() if key != "data"}
    assert owned(track_update(CONFIGMAP, first, gone, writer("two"))) == {}


def test_a_write_that_changes_nothing_changes_no_entry():
    first = track_update(CONFIGMAP, None, configmap(x="1"), writer("one"))
    again = track_update(CONFIGMAP, first, dict(first), writer("two", later=9))
    assert again == first


def test_a_later_write_of_the_same_manager_joins_its_entry_and_renews_the_time():
    first = track_update(CONFIGMAP, None, configmap(x="1"), writer("one"))
    second = track_update(CONFIGMAP, first, evolve(first, "data.y", "2"), writer("one", later=3))
    (entry,) = second["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:data": {".": {}, "f:x": {}, "f:y": {}}}
    assert entry["time"] == "2026-01-02T03:04:08Z"


def test_a_subresource_has_an_entry_of_its_own_and_ignores_what_it_resets():
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}}
    first = complete(DEPLOYMENT, {"metadata": {"uid": "u"}, "spec": spec})
    first = track_update(DEPLOYMENT, None, first, writer("user"))
    new = evolve(evolve(first, "status.replicas", 3), "spec.replicas", 9)
    status = writer("ctl", subresource="status", ignored=reset_fields(("spec",)))
    one, other = track_update(DEPLOYMENT, first, new, status)["metadata"]["managedFields"]
    assert (one["manager"], one["subresource"]) == ("ctl", "status")
    assert one["fieldsV1"] == {"f:status": {"f:replicas": {}}}
    assert other == first["metadata"]["managedFields"][0]


def test_an_object_without_entries_stays_without_them_on_update():
    done = track_update(CONFIGMAP, configmap(x="1"), configmap(x="2"), writer())
    assert "managedFields" not in done["metadata"]


@pytest.mark.parametrize("reset", [[], [{}]])
def test_an_explicitly_empty_list_resets_the_entries(reset):
    first = track_update(CONFIGMAP, None, configmap(x="1"), writer())
    new = evolve(evolve(first, "data.x", "2"), "metadata.managedFields", reset)
    assert "managedFields" not in track_update(CONFIGMAP, first, new, writer())["metadata"]


def test_entries_that_cannot_be_read_are_replaced_by_the_stored_ones():
    first = track_update(CONFIGMAP, None, configmap(x="1"), writer("one"))
    broken = evolve(first, "metadata.managedFields", [{"manager": "x"}])
    assert owned(track_update(CONFIGMAP, first, broken, writer("two"))) == owned(first)


def test_the_oldest_of_too_many_updaters_are_merged():
    obj = configmap()
    for number in range(14):
        old = obj if number else None
        new = evolve(obj, f"data.k{number}", "v")
        obj = track_update(CONFIGMAP, old, new, writer(f"m{number:02}", later=number))
    updates = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert len(updates) == managed_fields.UPDATERS_MAX
    assert updates[0] == "ancient-changes"
    oldest = obj["metadata"]["managedFields"][0]["fieldsV1"]["f:data"]
    assert set(oldest) == {".", "f:k0", "f:k1", "f:k2", "f:k3", "f:k4"}


def test_elements_of_a_list_are_named_by_their_keys():
    ports = [{"port": 80, "protocol": "TCP", "targetPort": 80}, {"port": 53, "protocol": "UDP"}]
    new = complete(SERVICE, {"metadata": {}, "spec": {"ports": ports}})
    fields = owned(track_update(SERVICE, None, new, writer()))["m"]
    assert set(get(fields, ("f:spec", "f:ports"))) == {
        ".",
        'k:{"port":80,"protocol":"TCP"}',
        'k:{"port":53,"protocol":"UDP"}',
    }


@pytest.mark.parametrize(
    ("given", "agent", "name"),
    [
        ("me", "kubectl/v1.36", "me"),
        ("", "kubectl/v1.36 (linux)", "kubectl"),
        ("", "", "unknown"),
        ("", "x" * 200 + "/1", "x" * 128),
    ],
)
def test_a_manager_is_named_by_the_request_or_by_its_program(given, agent, name):
    assert manager_name(given, agent) == name


# --- laws of sets ---------------------------------------------------------------------------------

PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(tuple)
SETS = st.lists(PATHS, max_size=6)


def as_paths(fields):
    return set(field_sets.paths(fields))


@given(SETS, SETS)
def test_set_operations_are_those_of_sets(one, other):
    left, right = field_sets.of_paths(*one), field_sets.of_paths(*other)
    a, b = as_paths(left), as_paths(right)
    assert a == {"." + ".".join(path) for path in one}
    assert as_paths(field_sets.union(left, right)) == a | b
    assert as_paths(field_sets.difference(left, right)) == a - b
    assert as_paths(field_sets.intersection(left, right)) == a & b
    below = {path for path in a if not any(path == q or path.startswith(q + ".") for q in b)}
    assert as_paths(field_sets.without_all_below(left, right)) == below


TEXTS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["one", "two", "three"]), TEXTS), min_size=1, max_size=8))
def test_after_any_writes_every_field_has_one_owner(writes):
    obj = None
    for number, (manager, data) in enumerate(writes):
        new = {"metadata": {"name": "a", "uid": "u", "labels": {"l": "1"}}, "data": data}
        if obj is not None and obj["metadata"].get("managedFields"):
            new = evolve(new, "metadata.managedFields", obj["metadata"]["managedFields"])
        new = check(CONFIGMAP, new).obj
        obj = track_update(CONFIGMAP, obj, new, writer(manager, later=number))
    owners = [path for fields in owned(obj).values() for path in field_sets.paths(fields)]
    assert len(owners) == len(set(owners))
    assert {path for path in owners if path.count(".") == 2 and path.startswith(".data")} == {
        f".data.{key}" for key in obj.get("data", {})
    }
