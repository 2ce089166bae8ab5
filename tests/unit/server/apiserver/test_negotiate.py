"""Which form a client gets, by what it says that it accepts."""

import pytest

from minikube_py.api.errors import NotAcceptableError
from minikube_py.server.apiserver import negotiate
from minikube_py.server.apiserver.negotiate import Accepted, accepted, accepted_stream

TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
PARTIAL = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("", Accepted()),
        ("*/*", Accepted()),
        ("application/*", Accepted()),
        ("application/yaml", Accepted("yaml")),
        ("application/vnd.kubernetes.protobuf, */*", Accepted("protobuf")),
        ("application/json;q=0.2,application/yaml;q=0.9", Accepted("yaml")),
        ("application/xml,*/*;q=0.1", Accepted()),
        ("application/json;q=x,application/yaml", Accepted("yaml")),
        ("application/json;pretty=1", Accepted(pretty=True)),
        ("application/json;stream=watch", Accepted()),
        (TABLE, Accepted("json", "Table", "meta.k8s.io", "v1")),
        (PARTIAL, Accepted("protobuf", "PartialObjectMetadata", "meta.k8s.io", "v1")),
        ("application/json;as=Nothing;g=meta.k8s.io;v=v1,application/yaml", Accepted("yaml")),
        (TABLE.replace("json", "vnd.kubernetes.protobuf") + ",application/json", Accepted()),
    ],
)
def test_the_clause_that_is_wanted_most_and_can_be_served_wins(header, form):
    assert accepted(header) == form


@pytest.mark.parametrize(
    "header",
    [
        "application/json;as=Table;g=meta.k8s.io;v=v2",
        "application/json;as=Table",
        TABLE.replace("json", "vnd.kubernetes.protobuf"),
        "application/json;stream=other",
        "application/cbor",
    ],
)
def test_what_no_clause_fits_is_not_acceptable(header):
    with pytest.raises(NotAcceptableError) as caught:
        accepted(header)
    assert caught.value.message == (
        "only the following media types are accepted: application/json, application/yaml, "
        "application/vnd.kubernetes.protobuf"
    )


@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "delete"])
@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("application/vnd.kubernetes.protobuf,application/json", Accepted()),
        ("application/vnd.kubernetes.protobuf, */*", Accepted()),
        (PARTIAL, Accepted("protobuf", "PartialObjectMetadata", "meta.k8s.io", "v1")),
    ],
)
def test_a_custom_kind_is_json_for_who_takes_that_beside_protobuf(verb, header, form):
    assert negotiate.negotiated(header, verb, custom=True) == form


@pytest.mark.parametrize("verb", ["get", "watch"])
def test_a_custom_kind_has_no_protobuf_message(verb):
    with pytest.raises(NotAcceptableError, match="only the following media types are accepted"):
        negotiate.negotiated("application/vnd.kubernetes.protobuf", verb, custom=True)


def test_a_watch_cannot_be_sent_as_yaml():
    with pytest.raises(NotAcceptableError, match="application/json;stream=watch, application/vnd"):
        accepted_stream("application/yaml")


@pytest.mark.parametrize("header", ["text/html", "application/*", "application/vnd.kubernetes.*"])
def test_the_router_compares_whole_media_types(header):
    with pytest.raises(NotAcceptableError, match="Available representations: application/json"):
        negotiate.check_produced(header, tuple(negotiate.MEDIA_TYPES))


@pytest.mark.parametrize("header", ["", "*/*", "text/html, */*;q=0.1", TABLE])
def test_the_router_looks_at_no_parameter(header):
    negotiate.check_produced(header, tuple(negotiate.MEDIA_TYPES))


@pytest.mark.parametrize(
    ("query", "agent", "pretty"),
    [
        ({}, "kubectl/v1.36", False),
        ({}, "curl/8.0", True),
        ({}, "Mozilla/5.0 (X11)", True),
        ({"pretty": "true"}, "kubectl", True),
        ({"pretty": "1"}, "kubectl", True),
        ({"pretty": "yes"}, "curl/8.0", False),
        ({"pretty": "false"}, "curl/8.0", False),
    ],
)
def test_answers_are_indented_for_people(query, agent, pretty):
    assert negotiate.wants_pretty(query, agent) is pretty
