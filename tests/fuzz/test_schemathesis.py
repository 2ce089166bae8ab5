"""Schemathesis over the published OpenAPI documents: what it makes of them breaks nothing.

It draws its requests from the documents alone, right ones and wrong ones; that it can read the
documents at all is half of what is tested.
"""

import os
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from minikube_py.api import openapi
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from tests.fuzz.conftest import Target
from tests.fuzz.operations import Request, encoded

COUNT = int(os.environ.get("KPY_FUZZ", "25"))
SEED = int(os.environ.get("KPY_FUZZ_SEED", "1"))
BASE = "http://kpy"
DOCUMENTS = ("version", "apis/rbac.authorization.k8s.io/v1", "apis/scheduling.k8s.io/v1")
MORE = ("api/v1", "apis/apps/v1", "apis/batch/v1", "apis/apiextensions.k8s.io/v1")
"""Large documents take their time to draw from: they are for the long form."""
LASTING = ("watch", "proxy", "/log", "exec", "attach", "portforward")
MODES = tuple(schemathesis.GenerationMode)


def operations(path: str) -> list[Any]:
    """Return the operations of one document, as schemathesis reads them."""
    data = openapi.document(Scheme(BUILTIN), f"/openapi/v3/{path}")
    assert data is not None, path
    schema = schemathesis.openapi.from_dict(orjson.loads(data))
    found = [operation.ok() for operation in schema.get_all_operations()]
    return [one for one in found if not any(mark in one.path for mark in LASTING)]


def sent(case: Any) -> Request:
    """Return a case as it goes over the wire."""
    parts = case.as_transport_kwargs(base_url=BASE)
    query = urlencode(parts.get("params") or {}, doseq=True, errors="replace")
    headers = {str(name).lower(): str(value) for name, value in parts["headers"].items()}
    body = parts.get("json", parts.get("data"))
    return Request(
        method=parts["method"],
        target=f"{parts['url'].removeprefix(BASE)}?{query}",
        content_type=headers.get("content-type", "application/json"),
        accept="application/json",
        body=body if isinstance(body, bytes) else b"" if body is None else encoded(body),
    )


@pytest.mark.parametrize("path", [*DOCUMENTS, *(MORE if "KPY_FUZZ" in os.environ else ())])
def test_requests_that_schemathesis_makes_of_a_document_break_nothing(
    target: Target, path: str
) -> None:
    found = operations(path)

    @seed(SEED)
    @settings(
        max_examples=COUNT,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def fire(data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(found))
        mode = data.draw(st.sampled_from(MODES))
        request = sent(data.draw(operation.as_strategy(mode)))
        if "watch" not in request.target:
            target.fire(request)

    fire()
