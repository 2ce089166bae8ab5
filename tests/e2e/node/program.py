"""What a node of these tests runs: an API server and an agent in one process, and little else.

`program.py DATA_DIR NODE_NAME ADDRESS`
"""

import logging
import sys
from pathlib import Path

from minikube_py.agent.app import ClusterInfo, run_agent, settle
from minikube_py.agent.config import NodeConfig
from minikube_py.lib.clock import SystemClock
from minikube_py.server.app import ServerApp
from minikube_py.server.bootstrap import cluster_dns_ip, node_certificates, prepare
from minikube_py.server.config import ServerConfig


async def main(data_dir: Path, name: str, address: str) -> None:
    """Run until killed."""
    clock = SystemClock()
    config = ServerConfig(
        data_dir=data_dir, write_kubeconfig=data_dir / "admin.yaml", advertise_address=address
    )
    bootstrap = prepare(config, node_name=name, node_addresses=[address], now=clock.now())
    folder = data_dir / "agent" / "tls"
    folder.parent.mkdir(exist_ok=True)
    certificates = node_certificates(bootstrap, folder, name, [address], now=clock.now())
    cluster = ClusterInfo(
        cluster_cidr=config.cluster_cidr,
        service_cidr=config.service_cidr,
        cluster_dns=cluster_dns_ip(config),
        cluster_domain=config.cluster_domain,
        serving_certificate=certificates.serving.certificate_path,
        serving_key=certificates.serving.key_path,
        client_ca=bootstrap.client_ca.certificate_path,
    )
    app = ServerApp(config, bootstrap, clock)
    async with app.running(print):
        node = NodeConfig(node_name=name, node_ip=address)
        await run_agent(
            settle(node, data_dir),
            app.loopback(f"system:node:{name}"),
            cluster,
            lambda text: print(text, flush=True),  # noqa: T201 -- the tests read it
            proxy_client=app.loopback("system:kube-proxy"),
        )


if __name__ == "__main__":
    import uvloop

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
