"""Lists in forms that take long to make: in pieces, and not before they are asked for."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from minikube_py.api import yaml
from minikube_py.api.core import CONFIGMAPS
from minikube_py.api.item import Item
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.resource import Resource
from minikube_py.server.apiserver.listing import Listing
from minikube_py.server.apiserver.negotiate import Accepted, Format
from minikube_py.server.apiserver.represent import Form, event_line

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def item(name: str) -> Item:
    obj = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "resourceVersion": "7"},
        "data": {"text": "a: 1\nb: 'x'\n", "empty": "", "number": "12"},
    }
    return Item(obj, orjson.dumps(obj), 7, {})


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_in_yaml_made_item_by_item_is_the_same(count: int) -> None:
    listing = Listing([item(f"c{n}") for n in range(count)], 9, "more", 4)
    form = Form(Accepted(format="yaml"), NOW)
    whole = form._list_view(CONFIGMAPS, listing)
    assert b"".join(form.listing(CONFIGMAPS, listing)) == yaml.dump(whole)


@pytest.mark.parametrize("form", ["yaml", "protobuf", "json"])
def test_nothing_is_encoded_before_it_is_asked_for(form: Format) -> None:
    parsed: list[bytes] = []

    def read(data: bytes) -> dict[str, Any]:
        parsed.append(data)
        return orjson.loads(data)  # type: ignore[no-any-return]

    one = item("a")
    one.read = read
    chunks = Form(Accepted(format=form), NOW, pretty=True).listing(CONFIGMAPS, Listing([one], 9))
    assert not parsed
    assert b"text" in b"".join(chunks)
    assert parsed


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "resource", [r for r in BUILTIN if "watch" in r.verbs], ids=lambda r: f"{r.group}-{r.plural}"
)
def test_a_bookmark_of_any_kind_can_be_sent_as_a_table(resource: Resource, first: bool) -> None:  # noqa: FBT001 -- a parameter
    annotations = {"k8s.io/initial-events-end": "true"}
    metadata = {"resourceVersion": "5", "annotations": annotations}
    bookmark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata}
    form = Form(Accepted(view="Table", view_group="meta.k8s.io", view_version="v1"), NOW)
    sent = orjson.loads(event_line(form, resource, "BOOKMARK", bookmark, first=first))
    assert sent["type"] == "BOOKMARK"
    assert (sent["object"]["columnDefinitions"] is None) != first
    [row] = sent["object"]["rows"]
    assert row["object"]["metadata"]["annotations"] == annotations
