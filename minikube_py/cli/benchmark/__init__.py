"""The CIS Kubernetes Benchmark, looked at on this machine.

`machine` measures (files, what a listening port lets in, what the running server was told), the
`section_*` modules say which item asks for what, `ITEMS` is all of them. An item that asks for a
file or flag that kpy does not have says what stands in its place, and looks at that where it can.
"""

from minikube_py.cli.benchmark.machine import Item
from minikube_py.cli.benchmark.section_1_files import ITEMS as CONTROL_PLANE_FILES
from minikube_py.cli.benchmark.section_1_servers import ITEMS as CONTROL_PLANE
from minikube_py.cli.benchmark.section_2_store import ITEMS as STORE
from minikube_py.cli.benchmark.section_3_logging import ITEMS as LOGGING
from minikube_py.cli.benchmark.section_4_node import ITEMS as NODE
from minikube_py.cli.benchmark.section_5_policies import ITEMS as POLICIES

ITEMS: tuple[Item, ...] = (*CONTROL_PLANE_FILES, *CONTROL_PLANE, *STORE, *LOGGING, *NODE, *POLICIES)

__all__ = ["ITEMS"]
