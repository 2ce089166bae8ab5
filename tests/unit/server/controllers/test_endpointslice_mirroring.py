"""Endpoints written by hand are endpoint slices too."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.core import ENDPOINTS, SERVICES
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.object import evolve
from minikube_py.client.actions import Create, Delete, Emit, Update
from minikube_py.server.controllers.endpointslice_mirroring import (
    LEADER,
    MANAGED_BY,
    MANAGER,
    SERVICE_LABEL,
    SKIP,
    plan,
    should_mirror,
)
from tests.unit.server.controllers.builders import meta, service

PORT = {"name": "http", "port": 80, "protocol": "TCP"}


def endpoints(*subsets, **more):
    obj = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta("web", **more)}
    return ENDPOINTS.default({**obj, "subsets": list(subsets)})


def subset(*addresses, ready=True, ports=(PORT,)):
    kind = "addresses" if ready else "notReadyAddresses"
    return {kind: [{"ip": one} for one in addresses], "ports": list(ports)}


def carried_out(actions, before=()):
    """Return the slices after a plan."""
    there = {one["metadata"]["name"]: one for one in before}
    for number, action in enumerate(actions):
        if isinstance(action, Delete):
            del there[action.key.name]
        elif isinstance(action, Create | Update):
            name = action.obj["metadata"].get("name", f"new-{len(there)}-{number}")
            there[name] = ENDPOINTSLICES.default(
                evolve(evolve(action.obj, "metadata.name", name), "metadata.uid", f"uid-{name}")
            )
    return list(there.values())


def test_a_subset_gives_a_slice_for_each_family():
    first, second = carried_out(plan(endpoints(subset("10.0.0.1", "fd00::1", "10.0.0.2")), []))
    assert [one["addressType"] for one in (first, second)] == ["IPv4", "IPv6"]
    assert [e["addresses"] for e in first["endpoints"]] == [["10.0.0.1"], ["10.0.0.2"]]
    assert first["ports"] == [PORT]
    assert first["metadata"]["labels"] == {SERVICE_LABEL: "web", MANAGED_BY: MANAGER}
    assert first["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"


def test_what_is_not_ready_is_told_apart():
    (one,) = carried_out(plan(endpoints(subset("10.0.0.1", ready=False)), []))
    assert one["endpoints"][0]["conditions"]["ready"] is False


def test_labels_and_annotations_are_copied():
    notes = {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    labels = {"app": "x", MANAGED_BY: "somebody"}
    (one,) = carried_out(plan(endpoints(subset("10.0.0.1"), labels=labels, annotations=notes), []))
    assert one["metadata"]["annotations"] == {"a": "b"}
    assert one["metadata"]["labels"] == {"app": "x", SERVICE_LABEL: "web", MANAGED_BY: MANAGER}


def test_addresses_beyond_a_thousand_are_left_out_and_told_of():
    many = [f"10.0.{n // 250}.{n % 250}" for n in range(1001)]
    create, emit = plan(endpoints(subset(*many)), [])
    assert len(create.obj["endpoints"]) == 1000
    assert isinstance(emit, Emit)
    assert emit.reason == "TooManyAddressesToMirror"
    assert emit.message == (
        "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. "
        "1 addresses were skipped"
    )


@pytest.mark.parametrize(
    ("more", "selector", "mirrored"),
    [
        ({}, None, True),
        ({"labels": {SKIP: "true"}}, None, False),
        ({"annotations": {LEADER: ""}}, None, False),
        ({}, {"app": "web"}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, None, False),
    ],
)
def test_only_what_is_written_by_hand_is_mirrored(more, selector, mirrored):
    one = SERVICES.default({**service(), "spec": {**service()["spec"], "selector": selector}})
    assert should_mirror(endpoints(**more), one) is mirrored


address = st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1", "nonsense"])
ports = st.sampled_from([(), (PORT,), ({**PORT, "port": 81},)])
subsets = st.lists(
    st.builds(
        lambda found, ready, used: subset(*found, ready=ready, ports=used),
        st.lists(address, max_size=3),
        st.booleans(),
        ports,
    ),
    max_size=4,
)


@given(before=subsets, after=subsets)
def test_one_plan_leads_to_what_the_endpoints_say_and_the_next_is_empty(before, after):
    there = carried_out(plan(endpoints(*before), []))
    wanted = endpoints(*after)
    there = carried_out(plan(wanted, there), there)
    assert [a for a in plan(wanted, there) if not isinstance(a, Emit)] == []
    shown = {
        (entry["addresses"][0], port["port"])
        for one in there
        for entry in one["endpoints"]
        for port in one.get("ports") or ()
    }
    expected = {
        (found["ip"], port["port"])
        for one in after
        for kind in ("addresses", "notReadyAddresses")
        for found in one.get(kind, ())
        if found["ip"] != "nonsense"
        for port in one["ports"]
    }
    assert shown == expected
