"""What a controller revision keeps, as Go's encoding/json writes it."""

from typing import Any

import orjson

from minikube_py.api.raw_text import written
from minikube_py.server.controllers.revision_data import data_of, same_data


def workload(*command: str) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "command": list(command), "args": ["é"]}
    template = {"spec": {"containers": [container]}, "metadata": {"labels": {"b": "1", "a": "2"}}}
    return {"spec": {"template": template}}


def text_of(data: Any) -> str:
    return orjson.dumps(written({"data": data}, (("data",),))).decode()


def test_names_are_in_order() -> None:
    assert text_of(data_of(workload("x"))) == (
        '{"data":{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"2","b":"1"}},'
        '"spec":{"containers":[{"args":["é"],"command":["x"],"image":"i","name":"c"}]}}}}}'
    )


def test_what_means_something_in_html_is_escaped() -> None:
    data = data_of(workload("a && b <c> \u2028"))
    assert '"command":["a \\u0026\\u0026 b \\u003cc\\u003e \\u2028"]' in text_of(data)
    assert data["spec"]["template"]["spec"]["containers"][0]["command"] == ["a && b <c> \u2028"]


def test_the_same_data_may_be_written_in_another_way() -> None:
    data = data_of(workload("a && b"))
    other = {"data": {"spec": {"template": dict(reversed(data["spec"]["template"].items()))}}}
    assert same_data(other, data)
    assert not same_data(other, data_of(workload("a")))
