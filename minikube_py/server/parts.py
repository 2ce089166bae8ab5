"""The parts of an API server, and how they hang together: everything is made here, once."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.api.admissionregistration import (
    MUTATINGADMISSIONPOLICIES,
    MUTATINGADMISSIONPOLICYBINDINGS,
    MUTATINGWEBHOOKCONFIGURATIONS,
    VALIDATINGADMISSIONPOLICIES,
    VALIDATINGADMISSIONPOLICYBINDINGS,
    VALIDATINGWEBHOOKCONFIGURATIONS,
)
from minikube_py.api.core import (
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    SERVICES,
)
from minikube_py.api.endpointslices import ENDPOINTSLICES
from minikube_py.api.flowcontrol import FLOWSCHEMAS, PRIORITYLEVELCONFIGURATIONS
from minikube_py.api.metrics import NODEMETRICS, PODMETRICS
from minikube_py.api.networking import INGRESSCLASSES, INGRESSES
from minikube_py.api.object import Obj
from minikube_py.api.rbac import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES
from minikube_py.api.resource import Convert, Resource
from minikube_py.api.resource_k8s import RESOURCESLICES
from minikube_py.api.scheme import Scheme
from minikube_py.api.storage import VOLUMEATTACHMENTS
from minikube_py.api.times import parse_duration
from minikube_py.client.protocol import Client, Lister
from minikube_py.datastore.history import Historian
from minikube_py.datastore.kv import Backend
from minikube_py.lib import process
from minikube_py.lib.clock import Clock
from minikube_py.server import metrics
from minikube_py.server.admission import Surroundings, plugins
from minikube_py.server.admission.claim_access import ClaimStatusAccess
from minikube_py.server.admission.configuration import load as load_admission_configuration
from minikube_py.server.admission.matching import Matcher
from minikube_py.server.admission.mutating_policy import MutatingAdmissionPolicy
from minikube_py.server.admission.mutating_webhook import MutatingAdmissionWebhook
from minikube_py.server.admission.policy_access import BindingAccess, PolicyAccess
from minikube_py.server.admission.policy_params import Params
from minikube_py.server.admission.validating_policy import ValidatingAdmissionPolicy
from minikube_py.server.admission.validating_webhook import ValidatingAdmissionWebhook
from minikube_py.server.admission.webhook_calls import WebhookCalls
from minikube_py.server.admission.webhook_metrics import WebhookMetrics
from minikube_py.server.admission.webhook_set import WebhookSet
from minikube_py.server.aggregator.run import Aggregator
from minikube_py.server.apiserver.api import ANY_CUSTOM, Api, Endpoints
from minikube_py.server.apiserver.call import Endpoint
from minikube_py.server.apiserver.connect import Connector
from minikube_py.server.apiserver.crd import CustomResources
from minikube_py.server.apiserver.endpoints.access_reviews import AccessReviews
from minikube_py.server.apiserver.endpoints.binding import Binding
from minikube_py.server.apiserver.endpoints.custom_scale import CustomScale
from minikube_py.server.apiserver.endpoints.eviction import Eviction
from minikube_py.server.apiserver.endpoints.scale import Scale
from minikube_py.server.apiserver.endpoints.tokens import TokenRequests, TokenReviews
from minikube_py.server.apiserver.health import Health
from minikube_py.server.apiserver.http import Frontend
from minikube_py.server.apiserver.nonresource import Nonresource
from minikube_py.server.apiserver.past import Past
from minikube_py.server.apiserver.proxy import Proxy
from minikube_py.server.apiserver.published import Published
from minikube_py.server.apiserver.request import RequestInfo
from minikube_py.server.apiserver.request_metrics import RequestMetrics
from minikube_py.server.apiserver.requests import Requests
from minikube_py.server.apiserver.watch import Watches
from minikube_py.server.attributes import AdmissionPlugin, Authenticator, Authorizer, User
from minikube_py.server.audit import metrics as audit_metrics
from minikube_py.server.audit.record import Auditor
from minikube_py.server.authn.anonymous import Anonymous
from minikube_py.server.authn.bootstrap_token import BootstrapTokens
from minikube_py.server.authn.chain import BearerTokens, Chain
from minikube_py.server.authn.configuration import Configuration
from minikube_py.server.authn.issuers import Issuers
from minikube_py.server.authn.legacy_tokens import LegacyTokens
from minikube_py.server.authn.request_header import HeaderNames, RequestHeaders
from minikube_py.server.authn.service_account import Bound, ServiceAccountTokens
from minikube_py.server.authn.signing import TokenSigner
from minikube_py.server.authn.tokens import TokenIssuer, openid_configuration
from minikube_py.server.authn.trust import Trust
from minikube_py.server.authn.webhook import webhook_tokens
from minikube_py.server.authn.x509 import ClientCertificates
from minikube_py.server.authz.configured import Configured
from minikube_py.server.authz.escalation import EscalationGuard
from minikube_py.server.authz.modes import chain_of
from minikube_py.server.authz.node import IngressSecrets, NodeAuthorizer, NodeListers
from minikube_py.server.authz.rbac import Rbac, RbacListers
from minikube_py.server.authz.webhook import Terms, WebhookAuthorizer
from minikube_py.server.bootstrap import Bootstrap
from minikube_py.server.bootstrap_objects import api_services
from minikube_py.server.bootstrap_rbac import node_rules
from minikube_py.server.certificates import Certificates
from minikube_py.server.config import ServerConfig
from minikube_py.server.flowcontrol import metrics as flow_control_metrics
from minikube_py.server.flowcontrol.control import FlowControl
from minikube_py.server.flowcontrol.estimate import Stored
from minikube_py.server.join import Join, Known
from minikube_py.server.metrics_api.endpoints import MetricsApi
from minikube_py.server.metrics_api.kubelets import fetch_from_kubelets
from minikube_py.server.metrics_api.scraper import Scraper
from minikube_py.server.profile import plugin_configuration
from minikube_py.server.registry.cache import Cache
from minikube_py.server.registry.hooks import Hook
from minikube_py.server.registry.services import ServiceHook
from minikube_py.server.registry.stamps import SigningRequestHook, VolumeHook
from minikube_py.server.registry.store import Store
from minikube_py.server.service_addresses import ServiceAddresses
from minikube_py.server.tunnels import Tunnels
from minikube_py.server.webhook.client import Target, WebhookClient, target_of
from minikube_py.server.webhook.conversion import WebhookConverter
from minikube_py.server.webhook.kubeconfig import target_of_file

APISERVER = User("system:apiserver", ("system:masters", "system:authenticated"))


ListerOf = Callable[[Resource], Lister]


@dataclass(frozen=True)
class Setting:
    """What the parts are made from."""

    config: ServerConfig
    bootstrap: Bootstrap
    scheme: Scheme
    clock: Clock
    watches: Watches
    checks: Mapping[str, Callable[[], str | None]]
    loopback: Callable[[User], Client]
    more_metrics: metrics.Source
    auditor: Auditor
    history: Historian


class Parts:
    """The parts of one running API server, made in the order in which they need each other."""

    def __init__(
        self,
        setting: Setting,
        backend: Backend,
        cache: Cache,
        proxy: Proxy,
        certificates: Certificates,
    ) -> None:
        rbac = _rbac(cache.kind)
        self.webhooks, self.webhook_metrics = WebhookClient(), WebhookMetrics()
        authorizer = _authorizer(setting, cache.kind, rbac, self.webhooks)
        tokens = Tokens(setting, cache.kind, self.webhooks)
        self.issuers = tokens.issuers
        self.authorization = authorizer if isinstance(authorizer, Configured) else None
        self.store = Store(
            backend,
            cache,
            clock=setting.clock,
            admission=_admission(
                setting,
                cache,
                authorizer,
                EscalationGuard(rbac, authorizer),
                _dynamic_admission(setting, cache, authorizer, self),
            ),
            hooks=hooks(setting, cache.kind, authorizer),
        )
        answers = dict(endpoints(self.store, authorizer, rbac, tokens))
        answers |= _metrics_api(setting, cache, proxy, certificates)
        self.api = Api(setting.scheme, self.store, authorizer, answers, setting.auditor)
        self.flow_control = _flow_control(setting, cache)
        self.aggregator = Aggregator(
            setting.scheme, self.store, certificates, proxy, frozenset(api_services(setting.config))
        )
        self.api.elsewhere = self.aggregator.forwarder
        self.request_metrics = RequestMetrics(setting.scheme)
        self.requests = Requests(parse_duration(setting.config.request_timeout))
        self.tunnels = Tunnels(cache.kind(NODES), certificates.trust.of)
        proxy.dial = self.tunnels.dial
        nonresource = _nonresource(setting, self, tokens, certificates.trust)
        self.aggregator.changed = nonresource.changed
        self.custom_resources = CustomResources(
            setting.scheme,
            self.store,
            setting.watches,
            nonresource.changed,
            self._converter_of(cache),
        )
        self.frontend = Frontend(
            self.api,
            authenticator=_authenticator(setting.config, tokens, certificates.trust),
            watches=setting.watches,
            connector=Connector(self.store, proxy, certificates.kubelet),
            nonresource=nonresource,
            forwarder=self.aggregator.forwarder,
            requests=self.requests,
            metrics=self.request_metrics,
            flow_control=self.flow_control,
            past=Past(self.store, setting.history, setting.clock),
        )

    def _converter_of(self, cache: Cache) -> Callable[[Obj], Convert]:
        locate = _locate(cache.kind)
        return lambda definition: WebhookConverter(definition, locate, self.webhooks.post)


def _locate(lister: ListerOf) -> Callable[[Obj], Target]:
    """Return what finds the place that a WebhookClientConfig names."""
    addresses = ServiceAddresses(lister(SERVICES), lister(ENDPOINTSLICES))
    return lambda config: target_of(config, addresses)


def _flow_control(setting: Setting, cache: Cache) -> FlowControl:
    def stored(info: RequestInfo) -> Stored | None:
        resource = setting.scheme.by_path(info.group, info.version, info.plural)
        kind = cache.find(resource) if resource is not None else None
        return None if kind is None else Stored(len(kind), kind.bytes, kind.watchers)

    config = setting.config
    return FlowControl(
        cache.kind(FLOWSCHEMAS),
        cache.kind(PRIORITYLEVELCONFIGURATIONS),
        seats=config.max_requests_inflight + config.max_mutating_requests_inflight,
        stored=stored,
        clock=setting.clock,
    )


def _admission(
    setting: Setting,
    cache: Cache,
    authorizer: Authorizer,
    guard: EscalationGuard,
    dynamic: Sequence[AdmissionPlugin],
) -> Sequence[AdmissionPlugin]:
    config = setting.config
    return plugins(
        Surroundings(
            lister=cache.kind,
            guard=guard,
            authorizer=authorizer,
            clock=setting.clock,
            client=lambda: setting.loopback(APISERVER),
            configuration=plugin_configuration(
                config, load_admission_configuration(config.admission_control_config_file)
            ),
            enabled=frozenset(config.enable_admission_plugins),
            disabled=frozenset(config.disable_admission_plugins),
            dynamic=dynamic,
        )
    )


def _dynamic_admission(
    setting: Setting, cache: Cache, authorizer: Authorizer, parts: Parts
) -> Sequence[AdmissionPlugin]:
    """Return the plugins that ask what users have configured, in upstream's order."""
    lister = cache.kind
    matcher = Matcher(setting.scheme, lister(NAMESPACES))
    params = Params(setting.scheme, cache.find)
    mutating = lister(MUTATINGADMISSIONPOLICIES), lister(MUTATINGADMISSIONPOLICYBINDINGS)
    validating = lister(VALIDATINGADMISSIONPOLICIES), lister(VALIDATINGADMISSIONPOLICYBINDINGS)
    locate = _locate(lister)

    def starting() -> bool:
        return setting.checks["poststarthook/bootstrap"]() is not None

    def webhooks(kind: Resource) -> WebhookCalls:
        found = WebhookSet(lister(kind), locate)
        return WebhookCalls(
            found,
            matcher,
            authorizer,
            parts.webhooks.post,
            metrics=parts.webhook_metrics,
            starting=starting,
        )

    return (
        MutatingAdmissionPolicy(matcher, params, authorizer, mutating),
        MutatingAdmissionWebhook(webhooks(MUTATINGWEBHOOKCONFIGURATIONS)),
        ValidatingAdmissionPolicy(matcher, params, authorizer, validating),
        ValidatingAdmissionWebhook(webhooks(VALIDATINGWEBHOOKCONFIGURATIONS)),
    )


def _rbac(lister: ListerOf) -> Rbac:
    return Rbac(
        RbacListers(
            roles=lister(ROLES),
            cluster_roles=lister(CLUSTERROLES),
            role_bindings=lister(ROLEBINDINGS),
            cluster_role_bindings=lister(CLUSTERROLEBINDINGS),
        )
    )


def _authorizer(
    setting: Setting, lister: ListerOf, rbac: Rbac, client: WebhookClient
) -> Authorizer:
    def webhook() -> Authorizer:
        flag = "--authorization-webhook-config-file"
        target = target_of_file(flag, setting.config.authorization_webhook_config_file)
        return WebhookAuthorizer(target, client.post, setting.clock, _terms(setting.config))

    nodes = NodeListers(
        pods=lister(PODS),
        claims=lister(PERSISTENTVOLUMECLAIMS),
        volumes=lister(PERSISTENTVOLUMES),
        attachments=lister(VOLUMEATTACHMENTS),
        slices=lister(RESOURCESLICES),
        ingress_secrets=IngressSecrets(lister(INGRESSES), lister(INGRESSCLASSES)).of,
    )
    makers: dict[str, Callable[[], Authorizer]] = {
        "Node": lambda: NodeAuthorizer(nodes, node_rules()),
        "RBAC": lambda: rbac,
        "Webhook": webhook,
    }
    if path := setting.config.authorization_config:
        return Configured(Path(path), makers, client.post, setting.clock)
    return chain_of(setting.config.authorization_mode, makers)


def _terms(config: ServerConfig) -> Terms:
    return Terms(
        version=config.authorization_webhook_version,
        allowed_seconds=parse_duration(config.authorization_webhook_cache_authorized_ttl),
        other_seconds=parse_duration(config.authorization_webhook_cache_unauthorized_ttl),
    )


class Tokens:
    """Service-account tokens: who signs them, who knows them, who makes them."""

    def __init__(self, setting: Setting, lister: ListerOf, client: WebhookClient) -> None:
        issuer = setting.config.service_account_issuer
        bound = Bound(
            service_accounts=lister(SERVICEACCOUNTS),
            pods=lister(PODS),
            secrets=lister(SECRETS),
            nodes=lister(NODES),
        )
        self.signer = TokenSigner(setting.bootstrap.service_account_key)
        path = setting.config.authentication_config
        self.issuers = Issuers(Path(path), (issuer,), setting.clock) if path else None
        self.bootstrap = BootstrapTokens(lister(SECRETS), (issuer,), setting.clock)
        self.bearer = BearerTokens(
            (
                ServiceAccountTokens(self.signer, issuer, bound, setting.clock),
                LegacyTokens(
                    self.signer,
                    (issuer,),
                    bound,
                    lambda: setting.loopback(APISERVER),
                    setting.clock,
                ),
                self.bootstrap,
                *((self.issuers,) if self.issuers is not None else ()),
                *webhook_tokens(setting.config, client.post, setting.clock),
            ),
            (issuer,),
        )
        self.issuer = TokenIssuer(self.signer, issuer, bound, setting.clock)


def _authenticator(config: ServerConfig, tokens: Tokens, trust: Trust) -> Chain:
    names = HeaderNames(
        user=config.requestheader_username_headers,
        group=config.requestheader_group_headers,
        extra_prefix=config.requestheader_extra_headers_prefix,
        uid=config.requestheader_uid_headers,
    )
    methods: tuple[Authenticator, ...] = (
        RequestHeaders(trust, names, config.requestheader_allowed_names),
        ClientCertificates(trust),
        tokens.bearer,
    )
    known = tokens.issuers.configuration if tokens.issuers is not None else Configuration()
    if config.anonymous_auth or known.anonymous:
        return Chain((*methods, Anonymous(known.anonymous_paths)))
    return Chain(methods)


def _nonresource(setting: Setting, parts: Parts, tokens: Tokens, trust: Trust) -> Nonresource:
    config, bootstrap = setting.config, setting.bootstrap
    address = f"{bootstrap.advertise_address}:{config.https_listen_port}"
    health = Health(setting.checks)
    client, known = lambda: setting.loopback(APISERVER), Known(tokens.bootstrap, trust.of)
    return Nonresource(
        setting.scheme,
        health=health,
        documents=_documents(config, tokens.signer),
        pages=metrics.pages(_sources(setting, parts), health),
        published=Published(setting.scheme, parts.aggregator, setting.clock, address),
        open_paths=(
            parts.tunnels,
            Join(config, bootstrap, client, setting.clock, known),
        ),
    )


def _sources(setting: Setting, parts: Parts) -> tuple[metrics.Source, ...]:
    """List what counts for itself, in the order of the metrics page."""
    return (
        parts.store.admission.lines,
        parts.webhook_metrics.lines,
        parts.aggregator.metrics,
        functools.partial(flow_control_metrics.lines, parts.flow_control),
        functools.partial(audit_metrics.lines, setting.auditor),
        parts.request_metrics.lines,
        parts.requests.watchdog.lines,
        setting.more_metrics,
        functools.partial(metrics.storage, parts.store),
        functools.partial(metrics.watches, parts.store, setting.watches),
        metrics.build,
        process.lines,
    )


def hooks(setting: Setting, lister: ListerOf, authorizer: Authorizer) -> dict[str, Hook]:
    """Return what kinds need beyond their rules when they are written."""
    config = setting.config
    low, _, high = config.service_node_port_range.partition("-")
    policies = PolicyAccess(setting.scheme, authorizer)

    def bindings(kind: Resource) -> Hook:
        return BindingAccess(setting.scheme, authorizer, lister(kind))

    return {
        MUTATINGADMISSIONPOLICIES.group_resource: policies,
        MUTATINGADMISSIONPOLICYBINDINGS.group_resource: bindings(MUTATINGADMISSIONPOLICIES),
        VALIDATINGADMISSIONPOLICIES.group_resource: policies,
        VALIDATINGADMISSIONPOLICYBINDINGS.group_resource: bindings(VALIDATINGADMISSIONPOLICIES),
        "resourceclaims.resource.k8s.io": ClaimStatusAccess(authorizer),
        "services": ServiceHook(config.service_cidr, range(int(low), int(high) + 1)),
        "certificatesigningrequests.certificates.k8s.io": SigningRequestHook(),
        "persistentvolumes": VolumeHook(),
    }


def endpoints(store: Store, authorizer: Authorizer, rbac: Rbac, tokens: Tokens) -> Endpoints:
    """Return what answers subresources with a kind of their own, and kinds that are not stored."""
    scale, reviews = Scale(store), AccessReviews(authorizer, rbac, store.clock)
    scaled = Endpoint(get=scale.get, update=scale.update, apply=scale.apply)
    custom_scale = CustomScale(store)
    binding = Endpoint(create=Binding(store).create)
    token_reviews = TokenReviews(tokens.bearer)
    return {
        ("deployments.apps", "scale"): scaled,
        ("replicasets.apps", "scale"): scaled,
        ("statefulsets.apps", "scale"): scaled,
        ("replicationcontrollers", "scale"): scaled,
        (ANY_CUSTOM, "scale"): Endpoint(
            get=custom_scale.get, update=custom_scale.update, apply=custom_scale.apply
        ),
        ("pods", "binding"): binding,
        ("bindings", ""): binding,
        ("pods", "eviction"): Endpoint(create=Eviction(store).create),
        ("serviceaccounts", "token"): Endpoint(create=TokenRequests(store, tokens.issuer).create),
        ("tokenreviews.authentication.k8s.io", ""): Endpoint(create=token_reviews.create),
        ("selfsubjectreviews.authentication.k8s.io", ""): Endpoint(create=reviews.self_review),
        ("subjectaccessreviews.authorization.k8s.io", ""): Endpoint(create=reviews.subject),
        ("localsubjectaccessreviews.authorization.k8s.io", ""): Endpoint(create=reviews.subject),
        ("selfsubjectaccessreviews.authorization.k8s.io", ""): Endpoint(
            create=reviews.self_subject
        ),
        ("selfsubjectrulesreviews.authorization.k8s.io", ""): Endpoint(create=reviews.rules),
    }


def _metrics_api(
    setting: Setting, cache: Cache, proxy: Proxy, certificates: Certificates
) -> Endpoints:
    """Return what answers for metrics.k8s.io, nothing where it is left out."""
    if not setting.config.serves_metrics:
        return {}
    nodes, fetch = cache.kind(NODES), fetch_from_kubelets(proxy, certificates.kubelet)
    made = MetricsApi(nodes, cache.kind(PODS), Scraper(nodes, fetch, setting.clock))
    return {
        (NODEMETRICS.group_resource, ""): made.nodes(),
        (PODMETRICS.group_resource, ""): made.pods(),
    }


def _documents(config: ServerConfig, signer: TokenSigner) -> dict[str, Obj]:
    address = config.advertise_address or "127.0.0.1"
    jwks = f"https://{address}:{config.https_listen_port}/openid/v1/jwks"
    return {
        "/.well-known/openid-configuration": openid_configuration(
            signer, config.service_account_issuer, jwks
        ),
        "/openid/v1/jwks": signer.jwks(),
    }
