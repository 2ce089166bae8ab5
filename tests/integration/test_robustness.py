"""Nonsense over HTTP gets the right refusal: never a 500, a hang or a server that grows."""

import asyncio
import ssl
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.conftest import Server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
ANSWER_SECONDS_MAX = 60.0
UPSTREAMS_OWN_500 = b"strconv.ParseUint"
"""What upstream answers to a resourceVersion that is no number."""

PATHS = (
    CONFIGMAPS,
    f"{CONFIGMAPS}/a",
    "/api/v1/pods",
    "/api/v1/namespaces/default/pods/a/log",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/a/scale",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/api/v1/namespaces",
    "/openapi/v3",
    "/version",
)
NAMES = (
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "fieldManager",
    "fieldValidation",
    "dryRun",
    "pretty",
    "force",
    "gracePeriodSeconds",
    "propagationPolicy",
    "includeObject",
)
nonsense = st.binary(max_size=40) | st.text(max_size=30).map(lambda t: t.encode(errors="replace"))
depth = st.sampled_from([50, 2_000, 200_000])
bodies = st.one_of(
    nonsense,
    depth.map(lambda n: b"[" * n),
    depth.map(lambda n: b'{"metadata":' * n),
    depth.map(lambda n: b'{"metadata":{"name":"a"},"data":' + b"[" * n + b"]" * n + b"}"),
    st.sampled_from(
        [
            b"",
            b"null",
            b"[]",
            b"1",
            b'"x"',
            b'{"metadata":null}',
            b'{"metadata":[]}',
            b'{"metadata":{"name":1}}',
            b'{"metadata":{"name":"a","labels":{"a":null}}}',
            b'{"metadata":{"name":"\xff"}}',
            b'{"metadata":{"name":"a"},"data":{"\\ud800":"x"}}',
            b'{"metadata":{"managedFields":[null]}}',
            b'{"metadata":{"name":"a","managedFields":[{"fieldsV1":1}]}}',
            b'{"spec":null}',
            b'{"spec":{"replicas":1e400}}',
            b'{"spec":{"replicas":99999999999999999999}}',
            b'[{"op":"add"}]',
            b'[{"op":"move","from":"/metadata","path":"/metadata/labels"}]',
            b'[{"op":"copy","from":"","path":"/a"}]',
            b'{"$patch":"replace"}',
            b'{"metadata":{"$setElementOrder/finalizers":1}}',
            b"a: &a [*a]",
            b"k8s\x00\xff\xff\xff",
            b'{"metadata":{"name":"' + b"a" * 300_000 + b'"}}',
            b'{"metadata":{"name":"a","labels":{"' + b"l" * 300_000 + b'":"x"}}}',
        ]
    ),
)
content_types = st.sampled_from(
    [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        "nonsense",
        "",
    ]
)
accepts = st.sampled_from(
    [
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=Table;g=meta.k8s.io;v=v1",
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        ";;;q=x",
        "*/*",
        "text/html",
    ]
)


def target(path: str, extra: bytes, query: dict[str, bytes]) -> str:
    """Return a request target; whatever is strange in it is percent-encoded."""
    pairs = "&".join(f"{name}={quote_from_bytes(value)}" for name, value in query.items())
    tail = f"/{quote_from_bytes(extra, safe='')}" if extra else ""
    return f"{path}{tail}?{pairs}"


async def exchange(server: Server, request: bytes) -> tuple[int, bytes]:
    """Send raw bytes; return the status and what came back."""
    tls = server.session.connector._ssl
    assert isinstance(tls, ssl.SSLContext)
    port = int(server.url.rpartition(":")[2])
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1"
        )
        try:
            writer.write(request)
            answer = await reader.read()
        finally:
            writer.close()
    assert answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), answer[:100]
    return int(answer[9:12]), answer


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    path=st.sampled_from(PATHS),
    extra=st.just(b"") | nonsense,
    query=st.dictionaries(st.sampled_from(NAMES), nonsense, max_size=3),
    content_type=content_types,
    accept=accepts,
    body=bodies,
)
async def test_nonsense_is_refused_and_never_an_error_of_the_server(
    server: Server, *, method, path, extra, query, content_type, accept, body
):
    head = (
        f"{method} {target(path, extra, query)} HTTP/1.1\r\nHost: kpy\r\nConnection: close\r\n"
        f"Accept: {accept}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    status, answer = await exchange(server, head.encode() + body)
    assert status < 500 or UPSTREAMS_OWN_500 in answer or status == 504, answer[:2000]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(junk=st.binary(min_size=1, max_size=60).filter(lambda data: b"\n" not in data))
async def test_header_bytes_of_any_kind_are_taken_or_refused(server: Server, junk):
    head = b"GET /api/v1/pods HTTP/1.1\r\nHost: kpy\r\nConnection: close\r\nAccept: " + junk
    status, answer = await exchange(server, head + b"\r\n\r\n")
    assert 200 <= status < 500, answer[:2000]


@pytest.mark.parametrize(
    ("selector", "status"),
    [
        ("a in (" + ",".join(f"v{n}" for n in range(400)) + ")", 200),
        ("a in (", 400),
        ("!" * 500, 400),
        ("=", 400),
        ("a=" + "b" * 64, 400),
    ],
)
async def test_an_absurd_selector_is_answered_or_refused(server: Server, selector, status):
    answer = await server.call(
        "GET", f"/api/v1/pods?labelSelector={quote_from_bytes(selector.encode())}"
    )
    assert answer.status == status, answer.raw


async def test_a_client_that_sends_half_a_request_holds_up_nobody(server: Server):
    tls = server.session.connector._ssl
    port = int(server.url.rpartition(":")[2])
    idle = [
        await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="127.0.0.1")
        for _ in range(20)
    ]
    for _, writer in idle:
        writer.write(b"POST /api/v1/namespaces HTTP/1.1\r\nHost: kpy\r\nContent-Length: 100\r\n")
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            assert (await server.call("GET", "/api/v1/namespaces")).status == 200
    finally:
        for _, writer in idle:
            writer.close()
