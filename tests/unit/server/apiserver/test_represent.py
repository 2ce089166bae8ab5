"""Lists in forms that take long to make: in pieces, and not before they are asked for."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from minikube_py.api import yaml
from minikube_py.api.core import CONFIGMAPS
from minikube_py.api.item import Item
from minikube_py.server.apiserver.listing import Listing
from minikube_py.server.apiserver.negotiate import Accepted, Format
from minikube_py.server.apiserver.represent import Form

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
