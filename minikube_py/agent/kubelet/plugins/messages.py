"""The messages of plugin registration v1, as one table.

The form is that of lib/message_table.py.

The numbers are those of k8s.io/kubelet/pkg/apis/pluginregistration/v1/api.proto.
"""

from functools import cache

from minikube_py.lib.message_table import parse
from minikube_py.lib.protowire import Codec

TABLE = """\
InfoRequest
PluginInfo type=1:string name=2:string endpoint=3:string supported_versions=4:string*
RegistrationStatus plugin_registered=1:bool error=2:string
RegistrationStatusResponse
"""


@cache
def codec() -> Codec:
    """Return the codec of the table; made at the first use."""
    return Codec(parse(TABLE))
