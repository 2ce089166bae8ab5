"""What a pod's /etc/resolv.conf and /etc/hosts say: pure, but for reading those of the node."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minikube_py.agent.kubelet.pod import is_host_network
from minikube_py.api.object import Obj, get

SERVERS_MAX = 3
SEARCHES_MAX = 32
SEARCH_LETTERS_MAX = 2048
HOSTNAME_MAX = 63
FQDN_MAX = 64
CLUSTER_OPTIONS = ("ndots:5",)
HOSTS_HEADER = "# Kubernetes-managed hosts file.\n"
HOSTS_HEADER_NODE = "# Kubernetes-managed hosts file (host network).\n"
LOCAL_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
ETC_RESOLV = Path("/etc/resolv.conf")
RESOLVED = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved keeps the real servers; its own 127.0.0.53 is no use inside a pod."""


class HostnameError(Exception):
    """The pod cannot have the name that it wants."""


@dataclass(frozen=True)
class Resolver:
    """The contents of a resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def config(self) -> dict[str, Any]:
        """Return the DNSConfig of CRI."""
        return {
            "servers": list(self.servers),
            "searches": list(self.searches),
            "options": list(self.options),
        }


def parse_resolver(text: str) -> Resolver:
    """Parse a resolv.conf; of several search lines the last one counts."""
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        match words:
            case ["nameserver", server, *_]:
                servers.append(server)
            case ["search" | "domain", *names]:
                searches = tuple(name.rstrip(".") or name for name in names)
            case ["options", *more]:
                options += more
    return Resolver(tuple(servers), searches, tuple(options))


def node_resolver() -> Resolver:
    """Return what the node itself uses."""
    try:
        found = parse_resolver(ETC_RESOLV.read_text())
        if set(found.servers) == {"127.0.0.53"} and RESOLVED.exists():
            return parse_resolver(RESOLVED.read_text())
    except OSError:
        return Resolver()
    return found


def pod_resolver(pod: Obj, node: Resolver, cluster_servers: Sequence[str], domain: str) -> Resolver:
    """Return what the containers of a pod are to use."""
    policy = get(pod, "spec.dnsPolicy", "ClusterFirst")
    if policy == "ClusterFirst" and is_host_network(pod):
        policy = "Default"
    found = Resolver() if policy == "None" else node
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet") and cluster_servers:
        namespace = pod["metadata"].get("namespace", "")
        own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain)
        found = Resolver(tuple(cluster_servers), _unique((*own, *node.searches)), CLUSTER_OPTIONS)
    return _bounded(_with_config(found, get(pod, "spec.dnsConfig") or {}))


def _with_config(found: Resolver, config: Obj) -> Resolver:
    options = dict(_option(text) for text in found.options)
    for entry in config.get("options") or ():
        options[entry["name"]] = entry.get("value")
    return Resolver(
        _unique((*found.servers, *(config.get("nameservers") or ()))),
        _unique((*found.searches, *(config.get("searches") or ()))),
        tuple(name if value is None else f"{name}:{value}" for name, value in options.items()),
    )


def _option(text: str) -> tuple[str, str | None]:
    name, colon, value = text.partition(":")
    return name, value if colon else None


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _bounded(found: Resolver) -> Resolver:
    searches: list[str] = []
    for name in found.searches[:SEARCHES_MAX]:
        if len(" ".join([*searches, name])) > SEARCH_LETTERS_MAX:
            break
        searches.append(name)
    return Resolver(found.servers[:SERVERS_MAX], tuple(searches), found.options)


# --- names and hosts ----------------------------------------------------------------------------


def hostname_and_domain(pod: Obj, domain: str) -> tuple[str, str]:
    """Return the host name of a pod and the domain below which its subdomain puts it, or ""."""
    override = get(pod, "spec.hostnameOverride")
    if override:
        return str(override), ""
    name = get(pod, "spec.hostname") or pod["metadata"]["name"]
    # A pod may have a longer name than a host.
    name = str(name)[:HOSTNAME_MAX].rstrip("-.")
    subdomain = get(pod, "spec.subdomain")
    if not subdomain:
        return name, ""
    return name, f"{subdomain}.{pod['metadata'].get('namespace', '')}.svc.{domain}"


def sandbox_hostname(pod: Obj, domain: str) -> str:
    """Return the host name that the sandbox gets; "" in the network of the node.

    Raises:
        HostnameError: the full name is wanted and longer than the kernel takes.

    """
    if is_host_network(pod):
        return ""
    name, under = hostname_and_domain(pod, domain)
    if not get(pod, "spec.setHostnameAsFQDN") or not under:
        return name
    full = f"{name}.{under}"
    if len(full) > FQDN_MAX:
        raise HostnameError(
            f"Failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too"
            f" long ({FQDN_MAX} characters is the max, {len(full)} characters requested)"
        )
    return full


def hosts_file(pod: Obj, ips: Sequence[str], domain: str, node_hosts: str) -> str:
    """Return the /etc/hosts of a pod."""
    aliases: Sequence[Mapping[str, Any]] = get(pod, "spec.hostAliases") or ()
    if is_host_network(pod):
        text = HOSTS_HEADER_NODE + node_hosts
    else:
        text = HOSTS_HEADER + LOCAL_HOSTS
        name, under = hostname_and_domain(pod, domain)
        for ip in ips:
            text += f"{ip}\t{name}.{under}\t{name}\n" if under else f"{ip}\t{name}\n"
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(
            "\t".join([alias["ip"], *(alias.get("hostnames") or ())]) + "\n" for alias in aliases
        )
    return text
