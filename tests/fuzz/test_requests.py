"""Requests that nobody meant, thousands of them: each is answered or refused, and nothing breaks.

A short form with fixed seeds runs with the other tests; `make fuzz` runs long ones with new seeds:
KPY_FUZZ is how many requests, KPY_FUZZ_SEED where to begin.
"""

import os
from random import Random

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from tests.fuzz.bent import Bender
from tests.fuzz.conftest import Target
from tests.fuzz.operations import JSON, Request, encoded

COUNT = int(os.environ.get("KPY_FUZZ", "400"))
SEED = int(os.environ.get("KPY_FUZZ_SEED", "1"))
LASTING = ("watch=", "/watch/", "follow=", "/proxy")


def lasts(request: Request) -> bool:
    """Tell whether the answer would not end by itself, or come from somewhere else."""
    return any(mark in request.target for mark in LASTING)


@seed(SEED)
@settings(
    max_examples=COUNT,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_requests_drawn_from_the_published_documents_are_answered_or_refused(
    target: Target, data: st.DataObject
) -> None:
    operation = data.draw(st.sampled_from(target.operations))
    request = data.draw(operation.requests())
    if not lasts(request):
        target.fire(request)


def test_valid_objects_that_are_bent_are_taken_or_refused(target: Target) -> None:
    bender = Bender(Scheme(BUILTIN), Random(SEED))  # noqa: S311 -- the same each time
    statuses = set()
    for _ in range(COUNT * 5):
        statuses.add(target.fire(bender.request()).status)
    assert {200, 201, 400, 404, 409, 422} <= statuses


def test_after_all_that_the_server_shows_what_it_has_in_every_form(target: Target) -> None:
    for resource in Scheme(BUILTIN):
        if "list" not in resource.verbs:
            continue
        for accept in (
            JSON,
            "application/yaml",
            "application/vnd.kubernetes.protobuf",
            "application/json;as=Table;g=meta.k8s.io;v=v1",
        ):
            outcome = target.fire(Request("GET", resource.path("", ""), "", accept, b""))
            assert outcome.status in (200, 406), (resource.plural, outcome)


def test_a_schema_of_a_custom_resource_is_read_to_its_depth(target: Target) -> None:
    def definition(node: object) -> bytes:
        schema = {"type": "object", "properties": {"a": {"type": "array", "items": node}}}
        version = {"name": "v1", "served": True, "storage": True}
        spec = {
            "group": "example.com",
            "scope": "Cluster",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        }
        return encoded({"metadata": {"name": "foos.example.com"}, "spec": spec})

    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for node, status in (
        ({"type": "string", "x-kubernetes-validations": ["null"]}, 400),
        ({"type": "string", "maxLength": "long"}, 400),
        ({"type": "object", "properties": "none"}, 400),
        ({"type": "object", "additionalProperties": "none"}, 400),
        ("string", 422),
        ({"type": "string"}, 201),
    ):
        request = Request("POST", path, JSON, JSON, definition(node))
        assert target.fire(request).status == status, node


def test_an_apply_to_an_object_with_a_nameless_element_is_refused(target: Target) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"
    body = encoded({"metadata": {"name": "nameless"}, "secrets": [{}]})
    assert target.fire(Request("POST", path, JSON, JSON, body)).status == 201
    whole = {"apiVersion": "v1", "kind": "ServiceAccount", "secrets": [{"name": "a"}]}
    target_path = f"{path}/nameless?fieldManager=me"
    request = Request("PATCH", target_path, "application/apply-patch+yaml", JSON, encoded(whole))
    outcome = target.fire(request)
    assert outcome.status == 500  # upstream's own
    assert b"failed to create typed live object" in outcome.raw
