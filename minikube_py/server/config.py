"""The options of `kpy server`; the names are those of k3s wherever k3s has the option."""

from dataclasses import dataclass
from pathlib import Path

from minikube_py.datastore.retention import HISTORY_BYTES, PASSING, Retention
from minikube_py.datastore.tls_files import TlsFiles
from minikube_py.lib.options import option

WITHOUT_CLOUD = ("external", "none")
"""Cloud providers that are none: others look after the nodes, or nobody does."""


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """What a control plane is told; everything else is a constant with a reason."""

    data_dir: Path = option(Path("/var/lib/kpy"), "folder that holds all state")
    https_listen_port: int = option(6443, "port of the API server")
    bind_address: str = option("0.0.0.0", "address that the API server listens on")
    advertise_address: str = option("", "address that others reach it at (default: the node's)")
    tls_san: tuple[str, ...] = option((), "more names or addresses for the serving certificate")
    datastore_endpoint: str = option(
        "", "URL of the datastore (default: SQLite in --data-dir)", secret=True
    )
    datastore_cafile: str = option("", "certificates that the datastore's is checked against")
    datastore_certfile: str = option("", "certificate that this server shows the datastore")
    datastore_keyfile: str = option("", "key of that certificate")
    snapshot_schedule_cron: str = option(
        "0 */12 * * *", "when snapshots are made, as cron says it in UTC; empty: never"
    )
    snapshot_retention: int = option(5, "snapshots of a kind that are kept")
    snapshot_dir: str = option("", "folder of snapshots (default: snapshots in the data dir)")
    snapshot_passphrase_file: str = option("", "file with the passphrase that opens snapshots")
    snapshot_s3_bucket: str = option("", "bucket that snapshots are copied to")
    snapshot_s3_endpoint: str = option("", "URL of the object store (default: Amazon's)")
    snapshot_s3_folder: str = option("", "folder in the bucket")
    snapshot_s3_region: str = option("", "region of the bucket")
    snapshot_s3_access_key: str = option(
        "", "access key of the bucket (default: as boto3 finds it)", secret=True
    )
    snapshot_s3_secret_key: str = option("", "secret key of the bucket", secret=True)
    cluster_init: bool = option(
        False, "run a member of etcd, which more servers can join by --server and --token"
    )
    server: str = option("", "URL of a server, with --cluster-init, whose cluster to join")
    etcd_client_port: int = option(2379, "port of this server's member of etcd, for servers")
    etcd_peer_port: int = option(2380, "port of this server's member of etcd, for other members")
    etcd_listen_client_urls: tuple[str, ...] = option(
        (), "https URLs where administrators reach the datastore by etcd's API (default: none)"
    )
    history_retention_bytes: int = option(
        HISTORY_BYTES, "size of the history that kpy history and kpy get --at show; 0 keeps none"
    )
    token: str = option(
        "", "secret that agents join with (default: made on first start)", secret=True
    )
    write_kubeconfig: Path = option(Path("/etc/kpy/kpy.yaml"), "where to write the kubeconfig")
    write_kubeconfig_mode: str = option("0600", "file mode of the kubeconfig, in octal")
    profile: str = option("", "cis for what the CIS Kubernetes Benchmark asks beyond the defaults")
    audit_policy_file: str = option("", "audit policy (default: changes and reads of secrets)")
    audit_log_path: str = option(
        "", "audit log; none for no log, - for stdout (default: in the folder logs of the data dir)"
    )
    audit_log_maxsize: int = option(10, "megabytes of an audit log before it is set aside")
    audit_log_maxage: int = option(30, "days that audit logs that were set aside are kept")
    audit_log_maxbackup: int = option(10, "audit logs that are kept when they were set aside")
    audit_log_format: str = option("json", "form of the audit log: json or legacy")
    audit_log_mode: str = option("batch", "who waits for the audit log: batch or blocking[-strict]")
    max_requests_inflight: int = option(400, "seats of requests that read (with the next: of all)")
    max_mutating_requests_inflight: int = option(200, "seats of requests that write")
    anonymous_auth: bool = option(False, "let in requests without credentials as system:anonymous")
    leader_elect: bool = option(
        False, "schedule and control only while holding a Lease, beside other servers"
    )
    disable_agent: bool = option(False, "run no node on this machine")
    disable_scheduler: bool = option(False, "run no scheduler")
    scheduler_config: str = option(
        "", "KubeSchedulerConfiguration: profiles, plugins and extenders of the scheduler"
    )
    disable_controller_manager: bool = option(False, "run no controllers")
    disable_cloud_controller: bool = option(False, "run no cloud controllers")
    cloud_provider: str = option(
        "local", "who gives nodes and load balancers: local, aws, one of a package, external, none"
    )
    cloud_config: str = option("", "configuration of the cloud provider")
    cluster_name: str = option("kubernetes", "marks in the cloud what belongs to this cluster")
    disable_kube_proxy: bool = option(False, "run no kube-proxy on the nodes")
    disable_network_policy: bool = option(False, "enforce no network policies")
    cluster_cidr: str = option("10.42.0.0/16", "networks that pods get addresses from")
    service_cidr: str = option("10.43.0.0/16", "networks that services get addresses from")
    network_backend: str = option(
        "vxlan", "how nodes reach each other's pods: vxlan, host-gw, wireguard, none (another CNI)"
    )
    service_node_port_range: str = option("30000-32767", "ports for services of type NodePort")
    cluster_dns: str = option("", "address of the cluster DNS (default: tenth of --service-cidr)")
    dns_stub_domains: tuple[str, ...] = option(
        (), "DOMAIN=ADDRESS[:PORT] of servers that the cluster DNS asks for names of a domain"
    )
    cluster_domain: str = option("cluster.local", "domain of the cluster")
    disable: tuple[str, ...] = option((), "packaged components to leave out")
    node_monitor_grace_period: str = option(
        "50s", "how long a node may be silent before it is taken for lost"
    )
    horizontal_pod_autoscaler_sync_period: str = option(
        "15s", "how often the number of pods is fitted to metrics"
    )
    service_account_issuer: str = option(
        "https://kubernetes.default.svc.cluster.local", "issuer and audience of tokens"
    )
    authentication_token_webhook_config_file: str = option(
        "", "kubeconfig of the webhook that is asked whose a bearer token is"
    )
    authentication_token_webhook_version: str = option(
        "v1beta1", "version of TokenReview that the webhook is sent: v1beta1 or v1"
    )
    authentication_token_webhook_cache_ttl: str = option(
        "2m0s", "how long answers of that webhook count"
    )
    authorization_mode: tuple[str, ...] = option(
        ("Node", "RBAC"), "who decides, in turn: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny"
    )
    authorization_config: str = option(
        "", "AuthorizationConfiguration: who decides, instead of --authorization-mode"
    )
    authorization_webhook_config_file: str = option(
        "", "kubeconfig of the webhook that --authorization-mode asks"
    )
    authorization_webhook_version: str = option(
        "v1beta1", "version of SubjectAccessReview that the webhook is sent: v1beta1 or v1"
    )
    authorization_webhook_cache_authorized_ttl: str = option(
        "5m0s", "how long that webhook's permissions count"
    )
    authorization_webhook_cache_unauthorized_ttl: str = option(
        "30s", "how long that webhook's refusals count"
    )
    request_timeout: str = option("1m0s", "how long a request may take that is no watch or stream")
    tls_min_version: str = option("VersionTLS12", "oldest TLS: VersionTLS12 or VersionTLS13")
    tls_cipher_suites: tuple[str, ...] = option((), "TLS 1.2 cipher suites, by their Go names")
    tls_sni_cert_key: tuple[str, ...] = option(
        (),
        "certificate,key[:name,...] served to those who ask for other names; may be repeated",
        whole=True,
    )
    requestheader_client_ca_file: str = option(
        "", "authorities of proxies that authenticate users, beside our own"
    )
    requestheader_allowed_names: tuple[str, ...] = option(
        ("front-proxy-client",), "common names of such proxies"
    )
    requestheader_username_headers: tuple[str, ...] = option(
        ("X-Remote-User",), "headers in which proxies name the user"
    )
    requestheader_uid_headers: tuple[str, ...] = option(
        (), "headers in which proxies give the user's uid"
    )
    requestheader_group_headers: tuple[str, ...] = option(
        ("X-Remote-Group",), "headers in which proxies name the user's groups"
    )
    requestheader_extra_headers_prefix: tuple[str, ...] = option(
        ("X-Remote-Extra-",), "prefixes of headers in which proxies tell more of the user"
    )
    proxy_client_cert_file: str = option(
        "", "certificate shown to aggregated API servers (default: our own)"
    )
    proxy_client_key_file: str = option("", "key of --proxy-client-cert-file")
    encryption_provider_config: str = option(
        "", "EncryptionConfiguration of secrets at rest (default: a key that kpy keeps)"
    )
    admission_control_config_file: str = option(
        "", "AdmissionConfiguration: what plugins of admission are told"
    )
    enable_admission_plugins: tuple[str, ...] = option(
        (), "plugins of admission to run beside those that run by themselves"
    )
    disable_admission_plugins: tuple[str, ...] = option((), "plugins of admission not to run")
    authentication_config: str = option(
        "", "AuthenticationConfiguration: issuers of tokens, who may come without one"
    )

    def packages(self, component: str) -> bool:
        """Tell whether a packaged component is there: one that is not disabled.

        A server without controllers is a bare API server, as upstream's, and packages none.
        """
        return not self.disable_controller_manager and component not in self.disable

    @property
    def retention(self) -> Retention:
        """What history the datastore keeps."""
        return Retention(self.history_retention_bytes, PASSING)

    @property
    def datastore_tls(self) -> TlsFiles:
        """By what the datastore is trusted, and who this server is to it."""
        return TlsFiles(self.datastore_cafile, self.datastore_certfile, self.datastore_keyfile)

    @property
    def snapshot_folder(self) -> Path:
        """Where snapshots are."""
        return Path(self.snapshot_dir) if self.snapshot_dir else self.data_dir / "snapshots"

    @property
    def serves_metrics(self) -> bool:
        """Whether the metrics API is built in; `--disable=metrics-server` leaves it to another."""
        return self.packages("metrics-server")

    @property
    def cloud(self) -> str:
        """The cloud provider that counts: `none` where its controllers are disabled."""
        return "none" if self.disable_cloud_controller else self.cloud_provider
