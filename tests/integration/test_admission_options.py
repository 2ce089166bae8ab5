"""Which admission plugins run and what they are told: options and the file beside them."""

import json
from pathlib import Path
from typing import Any

from tests.integration.conftest import Server, running

DEFAULTS = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1",
                "kind": "PodSecurityConfiguration",
                "defaults": {"enforce": "baseline", "warn": "restricted"},
                "exemptions": {"namespaces": ["trusted"]},
            },
        },
        {"name": "ResourceQuota", "path": "quota.json"},
    ],
}
QUOTA = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "ResourceQuotaConfiguration",
    "limitedResources": [{"resource": "pods", "matchContains": ["requests.nvidia.com/gpu"]}],
}


async def namespace(server: Server, name: str) -> None:
    made = await server.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert made.status in (201, 409), made.body
    account = {"metadata": {"name": "default"}}
    path = f"/api/v1/namespaces/{name}/serviceaccounts"
    assert (await server.call("POST", path, account)).status in (201, 409)


async def pod(server: Server, where: str, **container: Any) -> Any:
    containers = [{"name": "c", "image": "example.com/c", **container}]
    body = {"metadata": {"generateName": "p-"}, "spec": {"containers": containers}}
    return await server.call("POST", f"/api/v1/namespaces/{where}/pods", body)


async def test_the_file_sets_plugins_up(tmp_path: Path) -> None:
    path = tmp_path / "admission.json"
    path.write_text(json.dumps(DEFAULTS))
    (tmp_path / "quota.json").write_text(json.dumps(QUOTA))
    async with running(tmp_path / "data", admission_control_config_file=str(path)) as server:
        for name in ("plain", "trusted"):
            await namespace(server, name)
        answer = await pod(server, "plain")
        assert answer.status == 201
        assert "would violate PodSecurity" in answer.headers["Warning"]
        privileged = {"securityContext": {"privileged": True}}
        answer = await pod(server, "plain", **privileged)
        assert answer.status == 403
        assert 'violates PodSecurity "baseline:latest": privileged' in answer.body["message"]
        answer = await pod(server, "trusted", **privileged)
        assert answer.status == 201
        assert "Warning" not in answer.headers
        resources = {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}
        answer = await pod(server, "trusted", resources=resources)
        assert answer.status == 403
        assert "insufficient quota to consume: requests.nvidia.com/gpu" in answer.body["message"]


async def test_plugins_are_chosen_by_name(tmp_path: Path) -> None:
    async with running(
        tmp_path,
        enable_admission_plugins=("AlwaysPullImages",),
        disable_admission_plugins=("ServiceAccount",),
    ) as server:
        answer = await pod(server, "default")
        assert answer.status == 201
        assert answer.body["spec"]["containers"][0]["imagePullPolicy"] == "Always"
        assert "serviceAccountName" not in answer.body["spec"]
