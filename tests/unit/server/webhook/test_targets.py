"""Where webhooks are, and how it is said that they cannot be asked."""

import base64
from collections.abc import Callable
from typing import Any

import pytest

from minikube_py.server.service_addresses import ServiceAddresses
from minikube_py.server.webhook.client import target_of
from minikube_py.server.webhook.errors import WebhookError, refused, unreadable

Listing = Callable[..., Any]
SERVICE = {"name": "hook", "namespace": "a"}


def addresses(listing: Listing) -> ServiceAddresses:
    service = {
        "metadata": {"name": "hook", "namespace": "a"},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 443, "name": "https"}]},
    }
    endpoints = {
        "metadata": {
            "name": "hook-x",
            "namespace": "a",
            "labels": {"kubernetes.io/service-name": "hook"},
        },
        "ports": [{"name": "https", "port": 8443}],
        "endpoints": [{"addresses": ["10.1.0.7"], "conditions": {"ready": True}}],
    }
    return ServiceAddresses(listing(service), listing(endpoints))


@pytest.mark.parametrize(
    ("service", "url"),
    [
        ({}, "https://hook.a.svc:443/"),
        ({"port": 8443}, "https://hook.a.svc:8443/"),
        ({"path": "/x/y"}, "https://hook.a.svc:443/x/y"),
        ({"path": "x"}, "https://hook.a.svc:443/x"),
    ],
)
def test_a_service_is_named_in_the_url(listing: Listing, service: Any, url: str) -> None:
    target = target_of({"service": {**SERVICE, **service}}, addresses(listing))
    assert target.url == url
    assert target.address is not None


def test_a_service_is_resolved_when_it_is_asked(listing: Listing) -> None:
    target = target_of({"service": SERVICE}, addresses(listing))
    assert target.address is not None
    found = target.address()
    assert (found.host, found.port) == ("10.1.0.7", 8443)


def test_a_url_is_taken_as_it_is(listing: Listing) -> None:
    bundle = base64.b64encode(b"pem").decode()
    target = target_of({"url": "https://h/x", "caBundle": bundle}, addresses(listing))
    assert (target.url, target.authorities, target.address) == ("https://h/x", b"pem", None)


@pytest.mark.parametrize("config", [{}, {"url": "https://h", "caBundle": "*"}])
def test_a_place_that_is_none_is_told(listing: Listing, config: Any) -> None:
    with pytest.raises(WebhookError):
        target_of(config, addresses(listing))


@pytest.mark.parametrize(
    ("status", "kind", "data", "text"),
    [
        (404, "text/plain", b"x", "the server could not find the requested resource"),
        (403, "text/plain", b" go away ", "go away"),
        (403, "application/json", b"{}", "unknown"),
        (418, "text/plain", b"x", "the server responded with the status code 418 but did not"),
        (500, "text/html", b'a "b"', 'an error on the server ("a \\"b\\"") has prevented'),
        (500, "application/json", b"{}", 'an error on the server ("unknown") has prevented'),
        (500, "", b'{"kind":"Status","message":"said"}', "said"),
        (503, "", b'{"kind":"Status","message":7}', "the server is currently unable"),
    ],
)
def test_a_refusal_is_worded_as_client_go_does(
    status: int, kind: str, data: bytes, text: str
) -> None:
    assert refused(status, kind, data).startswith(text)


def test_a_refusal_is_cut_where_it_is_long() -> None:
    assert len(refused(500, "text/plain", b"x" * 100_000)) < 2200


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "unexpected end of JSON input"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"\xff", "invalid character '\ufffd' looking for beginning of value"),
    ],
)
def test_what_is_no_json_is_told(data: bytes, text: str) -> None:
    assert unreadable(data, ValueError()).endswith(text)
