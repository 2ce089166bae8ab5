"""Why a patched map is no object, in the words of the converter."""

import pytest

from minikube_py.api import schema
from minikube_py.api.patch.go_convert import conversion_error

DEPLOYMENT = schema.type_of("io.k8s.api.apps.v1.Deployment")


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ([], "cannot restore struct from: slice"),
        ("x", "cannot restore struct from: string"),
        ({"replicas": "x"}, "unrecognized type: int32"),
        ({"replicas": 1.5}, "cannot convert float64 to int32"),
        ({"replicas": 2.0}, ""),
        ({"paused": 1}, "unrecognized type: bool"),
        ({"selector": {"matchLabels": []}}, "cannot restore map from slice"),
        ({"selector": {"matchLabels": {"a": True}}}, "unrecognized type: string"),
        ({"selector": {"matchLabels": {"a": 1}}}, "cannot convert int64 to string"),
        ({"template": {"spec": {"containers": {}}}}, "cannot restore slice from map"),
        ({"template": {"spec": {"containers": [5]}}}, "cannot restore struct from: int64"),
        ({"template": None}, ""),
    ],
)
def test_the_first_value_that_does_not_fit_is_told(spec, error):
    assert conversion_error(DEPLOYMENT, {"spec": spec}) == error
