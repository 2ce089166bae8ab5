"""Paths that there are, and paths that there are not."""

import pytest

from minikube_py.api.errors import MethodNotAllowedError, NotFoundError
from minikube_py.api.kinds import BUILTIN
from minikube_py.api.scheme import Scheme
from minikube_py.server.apiserver.incoming import check_scope
from minikube_py.server.apiserver.request import parse

SCHEME = Scheme(BUILTIN)
REVIEWS = "/apis/authorization.k8s.io/v1"


def check(method, path):
    info = parse(method, path, {})
    resource = SCHEME.by_path(info.group, info.version, info.plural)
    check_scope(resource, info)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/pods"),
        ("GET", "/api/v1/namespaces/default/pods/x"),
        ("POST", "/api/v1/namespaces/default/pods/x/binding"),
        ("GET", "/api/v1/nodes/x/proxy/healthz"),
        ("PUT", "/api/v1/namespaces/default/finalize"),
        ("POST", f"{REVIEWS}/selfsubjectaccessreviews"),
        ("POST", f"{REVIEWS}/namespaces/default/localsubjectaccessreviews"),
    ],
)
def test_a_path_that_there_is_passes(method, path):
    check(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/default/nodes"),
        ("GET", "/api/v1/pods/x"),
        ("GET", "/api/v1/namespaces/default/pods/x/log/y"),
        ("GET", "/apis/apps/v1/namespaces/default/deployments/x/scale/y"),
        ("GET", f"{REVIEWS}/selfsubjectaccessreviews/x"),
        ("POST", f"{REVIEWS}/localsubjectaccessreviews"),
        ("DELETE", "/api/v1/bindings"),
    ],
)
def test_a_path_that_there_is_not_is_not_found(method, path):
    with pytest.raises(NotFoundError):
        check(method, path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v1/namespaces/default"),
        ("POST", "/api/v1/namespaces/default/pods/x"),
        ("POST", "/api/v1/pods"),
        ("PUT", "/api/v1/namespaces/default/configmaps"),
        ("DELETE", "/api/v1/configmaps"),
    ],
)
def test_a_path_without_that_method_says_so(method, path):
    with pytest.raises(MethodNotAllowedError):
        check(method, path)
