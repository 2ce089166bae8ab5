"""kube-apiserver over etcd, measured by the same client in the same run, where both are at hand.

KPY_BENCH_KUBE_APISERVER and KPY_BENCH_ETCD are the paths of the programs. They run with what the
comparison needs and nothing else: TLS and client certificates, the default admission plugins, RBAC,
and a datastore that syncs every write. The CPU time of both processes counts, as kpy's does.
"""

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from minikube_py.lib import authority, pki
from tests.bench.server import Server, stopped, until_ready
from tests.ports import free_port

API_SERVER, ETCD = "KPY_BENCH_KUBE_APISERVER", "KPY_BENCH_ETCD"


def is_given() -> bool:
    """Tell whether both programs were named."""
    return bool(os.environ.get(API_SERVER) and os.environ.get(ETCD))


@asynccontextmanager
async def running() -> AsyncIterator[Server]:
    """Start both, and stop them at the end."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kpy-bench-")))
        store = f"http://127.0.0.1:{free_port()}"
        etcd = await _started(stack, folder / "etcd.log", etcd_line(folder, store))
        port = free_port()
        tls = certificates(folder)
        started = time.perf_counter()
        line = api_server_line(folder, store, port)
        api_server = await _started(stack, folder / "kube-apiserver.log", line)
        await until_ready(api_server, lambda: tls, port, folder / "kube-apiserver.log")
        ready_seconds = time.perf_counter() - started
        yield Server((api_server.pid, etcd.pid), port, tls, ready_seconds)


async def _started(stack: AsyncExitStack, log: Path, line: list[str]) -> asyncio.subprocess.Process:
    output = stack.enter_context(log.open("wb"))
    process = await asyncio.create_subprocess_exec(*line, stdout=output, stderr=output)
    stack.push_async_callback(stopped, process)
    return process


def etcd_line(folder: Path, store: str) -> list[str]:
    """Return the command of an etcd of one member."""
    peer = f"http://127.0.0.1:{free_port()}"
    return [
        os.environ[ETCD],
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={store}",
        f"--advertise-client-urls={store}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    ]


def api_server_line(folder: Path, store: str, port: int) -> list[str]:
    """Return the command of an API server with the certificates of a folder."""
    return [
        os.environ[API_SERVER],
        f"--etcd-servers={store}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={folder / 'apiserver.key'}",
        f"--client-ca-file={folder / 'ca.crt'}",
        f"--service-account-key-file={folder / 'tokens.key'}",
        f"--service-account-signing-key-file={folder / 'tokens.key'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-cluster-ip-range=10.96.0.0/12",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
    ]


def certificates(folder: Path) -> ssl.SSLContext:
    """Make what the API server is started with; return the TLS of its administrator."""
    now = datetime.now(UTC)
    ca = authority.ensure_ca(folder, "ca", "bench", now)
    serving = pki.Subject(name="kube-apiserver", alternatives=("127.0.0.1", "localhost"))
    pki.ensure_leaf(folder, "apiserver", ca, serving, "server", now=now)
    admin = pki.Subject(name="kubernetes-admin", organizations=("system:masters",))
    pair = pki.ensure_leaf(folder, "admin", ca, admin, "client", now=now)
    pki.ensure_signing_key(folder / "tokens.key")
    context = ssl.create_default_context(cafile=ca.certificate_path)
    context.load_cert_chain(pair.certificate_path, pair.key_path)
    return context
