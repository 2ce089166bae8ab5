"""What `--simulate-nodes` starts: the nodes are made, then they live until the server stops."""

import functools
from dataclasses import dataclass

from minikube_py.agent.config import SimulationConfig
from minikube_py.agent.simulated.rules import Rules, load
from minikube_py.agent.simulated.run import SimulatedNodes
from minikube_py.client.informer import Informers
from minikube_py.client.protocol import Client
from minikube_py.lib.clock import Clock
from minikube_py.lib.errors import StartError
from minikube_py.lib.tasks import restarting


@dataclass(frozen=True)
class Simulation:
    """How many nodes to simulate, and how they behave."""

    count: int
    rules: Rules


def settle(config: SimulationConfig) -> Simulation | None:
    """Return the simulation that is asked for, None for none.

    Raises:
        StartError: an option makes no sense.

    """
    if config.simulate_nodes < 0:
        raise StartError(f"--simulate-nodes is {config.simulate_nodes}; give a number from 0 up")
    if not config.simulate_nodes:
        return None
    return Simulation(config.simulate_nodes, load(config.simulate_config))


async def run_simulation(simulation: Simulation, client: Client, clock: Clock) -> None:
    """Have the nodes and be their kubelets until cancelled; the client may do everything."""
    await restarting("simulated nodes", functools.partial(_run, simulation, client, clock))


async def _run(simulation: Simulation, client: Client, clock: Clock) -> None:
    async with Informers(client, clock) as informers:
        nodes = SimulatedNodes(client, informers, clock, simulation.rules)
        await nodes.register(simulation.count)
        await nodes.run()
