"""Going back to an old template because an annotation says so."""

import pytest

from minikube_py.api.apps import DEPLOYMENTS, REPLICASETS
from minikube_py.api.core import EVENTS
from minikube_py.api.object import annotations_of, evolve
from minikube_py.server.controllers import deployment
from minikube_py.server.controllers.deployment_revisions import REVISION
from minikube_py.server.controllers.deployment_rollback import ROLLBACK, wanted_revision
from tests.harness import harness
from tests.unit.server.controllers.builders import deployment as deployment_of
from tests.virtual_time import settle, virtual


async def rolled_out(world, *images):
    """Roll out one image after the other."""
    await world.client.create(DEPLOYMENTS, deployment_of(1))
    for image in images:
        await change(world, "spec.template.spec.containers", [{"name": "c", "image": image}])
    return world.cluster.objects(DEPLOYMENTS)[0]


async def change(world, path, value):
    (found,) = world.cluster.objects(DEPLOYMENTS)
    await world.client.update(DEPLOYMENTS, evolve(found, path, value))
    await settle(10)


def reasons(world):
    found = [(e["reason"], e["message"]) for e in world.cluster.objects(EVENTS)]
    return [one for one in found if one[0].startswith("DeploymentRollback")]


@virtual
@pytest.mark.parametrize("revision", ["1", "0"])
async def test_an_old_template_is_the_wanted_one_again(revision):
    async with harness() as world:
        world.run(deployment.CONTROLLER)
        await rolled_out(world, "a", "b")
        await change(world, ("metadata", "annotations", ROLLBACK), revision)
        (found,) = world.cluster.objects(DEPLOYMENTS)
        assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "a"
        assert ROLLBACK not in annotations_of(found)
        assert annotations_of(found)[REVISION] == "3"
        assert len(world.cluster.objects(REPLICASETS)) == 2
        text = 'Rolled back deployment "web" to revision 1'
        assert reasons(world) == [("DeploymentRollback", text)]


@virtual
@pytest.mark.parametrize(
    ("revision", "reason", "message"),
    [
        (
            "9",
            "DeploymentRollbackRevisionNotFound",
            "Unable to find the revision to rollback to.",
        ),
        ("0", "DeploymentRollbackRevisionNotFound", "Unable to find last revision."),
        (
            "1",
            "DeploymentRollbackTemplateUnchanged",
            'The rollback revision contains the same template as current deployment "web"',
        ),
    ],
)
async def test_why_nothing_is_rolled_back(revision, reason, message):
    async with harness() as world:
        world.run(deployment.CONTROLLER)
        await rolled_out(world, "a")
        await change(world, ("metadata", "annotations", ROLLBACK), revision)
        (found,) = world.cluster.objects(DEPLOYMENTS)
        assert ROLLBACK not in annotations_of(found)
        assert reasons(world) == [(reason, message)]


def test_what_is_no_number_asks_for_nothing():
    assert wanted_revision(deployment_of(1, annotations={ROLLBACK: "x"})) is None
    assert wanted_revision(deployment_of(1)) is None
