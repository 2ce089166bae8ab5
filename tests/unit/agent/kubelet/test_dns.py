"""resolv.conf, host names and /etc/hosts of pods."""

import pytest

from minikube_py.agent.kubelet.dns import (
    HostnameError,
    Resolver,
    hostname_and_domain,
    hosts_file,
    parse_resolver,
    pod_resolver,
    sandbox_hostname,
)
from tests.unit.agent.kubelet.builders import pod

NODE = Resolver(("9.9.9.9",), ("example.com",), ("timeout:1",))
OWN = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")


def resolver(**spec):
    return pod_resolver(pod(**spec), NODE, ["10.43.0.10"], "cluster.local")


def test_a_resolv_conf_is_read():
    text = "# x\ndomain old\nsearch a.b c.d.\nnameserver 1.1.1.1 # first\noptions ndots:2 rotate\n"
    found = parse_resolver(text)
    assert found == Resolver(("1.1.1.1",), ("a.b", "c.d"), ("ndots:2", "rotate"))


def test_the_cluster_comes_first():
    assert resolver() == Resolver(("10.43.0.10",), (*OWN, "example.com"), ("ndots:5",))


@pytest.mark.parametrize(
    "spec", [{"dnsPolicy": "Default"}, {"hostNetwork": True, "dnsPolicy": "ClusterFirst"}]
)
def test_some_pods_see_what_the_node_sees(spec):
    assert resolver(**spec) == NODE


def test_a_pod_in_the_node_s_network_may_ask_for_the_cluster():
    found = resolver(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    assert found.servers == ("10.43.0.10",)


def test_none_means_only_what_the_pod_says():
    config = {
        "nameservers": ["1.2.3.4"],
        "searches": ["x.y"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    assert resolver(dnsPolicy="None", dnsConfig=config) == Resolver(
        ("1.2.3.4",), ("x.y",), ("ndots:2", "edns0")
    )


def test_what_the_pod_says_is_added_and_its_options_win():
    config = {
        "nameservers": ["10.43.0.10", "1.2.3.4"],
        "options": [{"name": "ndots", "value": "1"}],
    }
    found = resolver(dnsConfig=config)
    assert found.servers == ("10.43.0.10", "1.2.3.4")
    assert found.options == ("ndots:1",)


def test_there_are_limits():
    config = {
        "nameservers": [f"1.1.1.{n}" for n in range(9)],
        "searches": [f"{'s' * 60}{n:02}" for n in range(50)],
    }
    found = resolver(dnsPolicy="None", dnsConfig=config)
    assert len(found.servers) == 3
    assert len(found.searches) == 32
    assert len(" ".join(found.searches)) <= 2048


def test_a_host_name_is_the_name_of_the_pod_and_not_too_long():
    assert hostname_and_domain(pod(), "cluster.local") == ("a", "")
    long = pod(metadata={"name": "x" * 62 + "-" + "y" * 20})
    assert sandbox_hostname(long, "cluster.local") == "x" * 62


def test_a_pod_may_have_a_host_name_and_a_subdomain():
    named = pod(hostname="web", subdomain="front")
    assert hostname_and_domain(named, "c.l") == ("web", "front.default.svc.c.l")
    assert sandbox_hostname(named, "c.l") == "web"
    full = pod(hostname="web", subdomain="front", setHostnameAsFQDN=True)
    assert sandbox_hostname(full, "c.l") == "web.front.default.svc.c.l"


def test_a_full_name_that_is_too_long_is_an_error():
    full = pod(hostname="h" * 50, subdomain="front", setHostnameAsFQDN=True)
    with pytest.raises(HostnameError, match="64 characters is the max, 82 characters requested"):
        sandbox_hostname(full, "cluster.local")


def test_in_the_node_s_network_the_name_is_the_node_s():
    assert sandbox_hostname(pod(hostNetwork=True), "c.l") == ""


def test_hosts_hold_the_pod_and_its_aliases():
    aliases = [{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}]
    named = pod(subdomain="front", hostAliases=aliases)
    text = hosts_file(named, ["10.0.0.2", "fd00::2"], "c.l", "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "\n10.0.0.2\ta.front.default.svc.c.l\ta\nfd00::2\ta.front.default.svc.c.l\ta\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\tfoo\tbar\n")


def test_hosts_in_the_node_s_network_are_the_node_s():
    text = hosts_file(pod(hostNetwork=True), [], "c.l", "127.0.0.1 localhost\n")
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
