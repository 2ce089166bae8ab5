"""Discovery: versions, groups and resources, one by one and all at once."""

from typing import Any

import pytest

from tests.integration.conformance.api import Api
from tests.integration.patience import eventually
from tests.integration.test_custom_kinds import CRDS, GROUP, crd

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
BUILT_IN = (
    ("", "v1", "namespaces"),
    ("", "v1", "pods"),
    ("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "v1", "apiservices"),
    ("apps", "v1", "deployments"),
    ("batch", "v1", "jobs"),
    ("networking.k8s.io", "v1", "ingresses"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("scheduling.k8s.io", "v1", "priorityclasses"),
    ("storage.k8s.io", "v1", "storageclasses"),
)


def aggregated(document: Any) -> set[tuple[str, str, str]]:
    """Return group, version and resource of everything in an aggregated document."""
    return {
        (group["metadata"].get("name", ""), version["version"], resource["resource"])
        for group in document["items"]
        for version in group["versions"]
        for resource in version["resources"]
    }


async def everything(api: Api, accept: str = V2) -> set[tuple[str, str, str]]:
    core, groups = await api.get("/api", accept=accept), await api.get("/apis", accept=accept)
    assert core["kind"] == groups["kind"] == "APIGroupDiscoveryList"
    return aggregated(core) | aggregated(groups)


@pytest.mark.conformance("server version should find the server version")
async def test_the_version_consists_of_numbers(api: Api) -> None:
    version = await api.get("/version")
    assert (version["major"], version["minor"]) == ("1", "36")


@pytest.mark.conformance(
    "Discovery should validate PreferredVersion for each APIGroup",
    "Discovery should locate the groupVersion and a resource within each APIGroup",
)
async def test_every_group_has_versions_and_resources(api: Api) -> None:
    groups = (await api.get("/apis"))["groups"]
    assert len(groups) > 15
    for group in groups:
        shown = await api.get(f"/apis/{group['name']}")
        offered = [version["groupVersion"] for version in shown["versions"]]
        assert shown["preferredVersion"]["groupVersion"] in offered
        assert all(o.partition("/")[0] == group["name"] for o in offered)
        for group_version in offered:
            resources = await api.get(f"/apis/{group_version}")
            assert resources["groupVersion"] == group_version
            assert resources["resources"]
            for resource in resources["resources"]:
                assert resource["kind"]
                assert resource["verbs"]


@pytest.mark.conformance("AggregatedDiscovery should support raw aggregated discovery endpoint...")
@pytest.mark.parametrize("accept", [V2, f"{V2},application/json"])
async def test_built_in_resources_are_in_the_aggregated_documents(api: Api, accept: str) -> None:
    assert set(BUILT_IN) <= await everything(api, accept)
    answer = await api.call("GET", "/apis", accept=accept)
    assert answer.headers["Content-Type"] == accept.partition(",")[0]


@pytest.mark.conformance("AggregatedDiscovery should support raw aggregated discovery request...")
async def test_a_custom_kind_joins_and_leaves_the_aggregated_document(api: Api) -> None:
    wanted = (GROUP, "v1", "crontabs")
    await api.create(CRDS, crd())
    await eventually(lambda: everything(api), lambda found: wanted in found)
    await api.delete(f"{CRDS}/crontabs.{GROUP}")
    await eventually(lambda: everything(api), lambda found: wanted not in found)


@pytest.mark.conformance(
    "AggregatedDiscovery should support aggregated discovery interface",
    "AggregatedDiscovery should support aggregated discovery interface for CRDs",
)
async def test_a_client_asks_for_all_kinds_at_once(api: Api) -> None:
    await api.create(CRDS, crd())
    await api.until(f"/apis/{GROUP}/v1/crontabs")
    status, shown, said = await api.kubectl("api-resources", "-v=6")
    assert status == 0, said
    rows = {tuple(line.split()[:1]) for line in shown.splitlines()}
    assert {(resource,) for _, _, resource in BUILT_IN} <= rows
    assert ("crontabs",) in rows
    asked = [line for line in said.splitlines() if 'verb="GET"' in line or " GET " in line]
    assert len(asked) <= 4, "one request for each of /api and /apis, not one for each group"


@pytest.mark.conformance(
    "CustomResourceDefinition resources should include custom resource definition resources...",
)
async def test_definitions_are_themselves_discovered(api: Api) -> None:
    groups = {group["name"]: group for group in (await api.get("/apis"))["groups"]}
    wanted = {"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"}
    assert wanted in groups["apiextensions.k8s.io"]["versions"]
    assert wanted in (await api.get("/apis/apiextensions.k8s.io"))["versions"]
    resources = (await api.get("/apis/apiextensions.k8s.io/v1"))["resources"]
    assert "customresourcedefinitions" in {resource["name"] for resource in resources}
