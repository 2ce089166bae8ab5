"""The default cluster roles of v1.36, as sentences: `read of pods pods/log`.

A sentence is `<verbs> of <resources> [in <groups>] [named <names>]` or `<verbs> at <paths>`. The
group is core where none is named; `read` is get, list and watch; `write` is create, delete,
deletecollection, patch and update. `bootstrap_rbac` makes objects of them.
"""

EVENTS = "create patch update of events in core events.k8s.io"

ROLES: dict[str, tuple[str, ...]] = {
    "cluster-admin": (
        "* of * in *",
        "* at *",
    ),
    "system:aggregate-to-admin": (
        "create of localsubjectaccessreviews in authorization.k8s.io",
        "read write of rolebindings roles in rbac.authorization.k8s.io",
    ),
    "system:aggregate-to-edit": (
        "read of pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy",
        "impersonate of serviceaccounts",
        "write of pods pods/attach pods/exec pods/portforward pods/proxy",
        "create of pods/eviction",
        (
            "write of configmaps persistentvolumeclaims replicationcontrollers "
            "replicationcontrollers/scale secrets serviceaccounts services services/proxy"
        ),
        "create of serviceaccounts/token",
        "write of events in core events.k8s.io",
        (
            "write of daemonsets deployments deployments/rollback deployments/scale replicasets "
            "replicasets/scale statefulsets statefulsets/scale in apps"
        ),
        "write of horizontalpodautoscalers in autoscaling",
        "write of cronjobs jobs in batch",
        (
            "write of daemonsets deployments deployments/rollback deployments/scale ingresses "
            "networkpolicies replicasets replicasets/scale replicationcontrollers/scale in "
            "extensions"
        ),
        "write of poddisruptionbudgets in policy",
        "write of ingresses networkpolicies in networking.k8s.io",
        "read write of leases in coordination.k8s.io",
        "write of resourceclaims resourceclaimtemplates in resource.k8s.io",
    ),
    "system:aggregate-to-view": (
        (
            "read of configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status "
            "pods replicationcontrollers replicationcontrollers/scale serviceaccounts services "
            "services/status"
        ),
        (
            "read of bindings limitranges namespaces/status pods/log pods/status "
            "replicationcontrollers/status resourcequotas resourcequotas/status"
        ),
        "read of namespaces",
        "read of events in core events.k8s.io",
        "read of endpointslices in discovery.k8s.io",
        (
            "read of controllerrevisions daemonsets daemonsets/status deployments "
            "deployments/scale deployments/status replicasets replicasets/scale "
            "replicasets/status statefulsets statefulsets/scale statefulsets/status in apps"
        ),
        "read of horizontalpodautoscalers horizontalpodautoscalers/status in autoscaling",
        "read of cronjobs cronjobs/status jobs jobs/status in batch",
        (
            "read of daemonsets daemonsets/status deployments deployments/scale "
            "deployments/status ingresses ingresses/status networkpolicies replicasets "
            "replicasets/scale replicasets/status replicationcontrollers/scale in extensions"
        ),
        "read of poddisruptionbudgets poddisruptionbudgets/status in policy",
        "read of ingresses ingresses/status networkpolicies in networking.k8s.io",
        "read of resourceclaims resourceclaims/status resourceclaimtemplates in resource.k8s.io",
    ),
    "system:auth-delegator": (
        "create of tokenreviews in authentication.k8s.io",
        "create of subjectaccessreviews in authorization.k8s.io",
    ),
    "system:basic-user": (
        "create of selfsubjectaccessreviews selfsubjectrulesreviews in authorization.k8s.io",
        "create of selfsubjectreviews in authentication.k8s.io",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        "create of certificatesigningrequests/nodeclient in certificates.k8s.io",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        "create of certificatesigningrequests/selfnodeclient in certificates.k8s.io",
    ),
    "system:certificates.k8s.io:kube-apiserver-client-approver": (
        "approve of signers in certificates.k8s.io named kubernetes.io/kube-apiserver-client",
    ),
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": (
        (
            "approve of signers in certificates.k8s.io named "
            "kubernetes.io/kube-apiserver-client-kubelet"
        ),
    ),
    "system:certificates.k8s.io:kubelet-serving-approver": (
        "approve of signers in certificates.k8s.io named kubernetes.io/kubelet-serving",
    ),
    "system:certificates.k8s.io:legacy-unknown-approver": (
        "approve of signers in certificates.k8s.io named kubernetes.io/legacy-unknown",
    ),
    "system:discovery": (
        (
            "get at /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz "
            "/version /version/"
        ),
    ),
    "system:heapster": (
        "read of events namespaces nodes pods",
        "read of deployments in extensions",
    ),
    "system:kube-aggregator": ("read of endpoints services",),
    "system:kube-controller-manager": (
        EVENTS,
        "create of leases in coordination.k8s.io",
        "get update of leases in coordination.k8s.io named kube-controller-manager",
        "create of secrets serviceaccounts",
        "delete of secrets",
        "get of configmaps namespaces secrets serviceaccounts",
        "update of secrets serviceaccounts",
        "create of tokenreviews in authentication.k8s.io",
        "create of subjectaccessreviews in authorization.k8s.io",
        "list watch of * in *",
        "create of serviceaccounts/token",
    ),
    "system:kube-dns": ("list watch of endpoints services",),
    "system:kube-scheduler": (
        EVENTS,
        "create of leases in coordination.k8s.io",
        "read update of leases in coordination.k8s.io named kube-scheduler",
        "read write of leasecandidates in coordination.k8s.io",
        "read of nodes",
        "read delete of pods",
        "create of bindings pods/binding",
        "patch update of pods/status",
        "read of replicationcontrollers services",
        "read of replicasets in apps extensions",
        "read of statefulsets in apps",
        "read of poddisruptionbudgets in policy",
        "read of persistentvolumeclaims persistentvolumes",
        "create of tokenreviews in authentication.k8s.io",
        "create of subjectaccessreviews in authorization.k8s.io",
        "read of csinodes in storage.k8s.io",
        "read of volumeattachments in storage.k8s.io",
        "read of namespaces",
        "read of csidrivers in storage.k8s.io",
        "read of csistoragecapacities in storage.k8s.io",
        "read of deviceclasses in resource.k8s.io",
        "read patch update of resourceclaims in resource.k8s.io",
        "read patch update of resourceclaims/status in resource.k8s.io",
        "update of pods/finalizers",
        "read of resourceslices in resource.k8s.io",
        "create delete of resourceclaims in resource.k8s.io",
        "patch update of resourceclaims/binding in resource.k8s.io",
    ),
    "system:kubelet-api-admin": (
        "read of nodes",
        "proxy of nodes",
        "* of nodes/log nodes/metrics nodes/proxy nodes/stats",
        "* of nodes/configz nodes/healthz nodes/pods",
    ),
    "system:monitoring": (
        (
            "get at /flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz "
            "/readyz/* /statusz"
        ),
        "get of nodes/metrics",
    ),
    "system:node": (
        "create of tokenreviews in authentication.k8s.io",
        "create of localsubjectaccessreviews subjectaccessreviews in authorization.k8s.io",
        "read of services",
        "read create of nodes",
        "patch update of nodes/status",
        "patch update of nodes",
        EVENTS,
        "read of pods",
        "create delete of pods",
        "patch update of pods/status",
        "create of pods/eviction",
        "read of configmaps secrets",
        "get of persistentvolumeclaims persistentvolumes",
        "get of endpoints",
        "read create of certificatesigningrequests in certificates.k8s.io",
        "create delete get patch update of leases in coordination.k8s.io",
        "get of volumeattachments in storage.k8s.io",
        "create of serviceaccounts/token",
        "get patch update of persistentvolumeclaims/status",
        "read of csidrivers in storage.k8s.io",
        "create delete get patch update of csinodes in storage.k8s.io",
        "read of runtimeclasses in node.k8s.io",
        "get of resourceclaims in resource.k8s.io",
        "deletecollection of resourceslices in resource.k8s.io",
        "get of serviceaccounts",
    ),
    "system:node-bootstrapper": (
        "read create of certificatesigningrequests in certificates.k8s.io",
    ),
    "system:node-problem-detector": (
        "get of nodes",
        "patch of nodes/status",
        EVENTS,
    ),
    "system:node-proxier": (
        "list watch of endpoints services",
        "read of nodes",
        EVENTS,
        "list watch of servicecidrs in networking.k8s.io",
        "list watch of endpointslices in discovery.k8s.io",
    ),
    "system:persistent-volume-provisioner": (
        "read create delete of persistentvolumes",
        "read update of persistentvolumeclaims",
        "read of storageclasses in storage.k8s.io",
        "watch of events",
        EVENTS,
    ),
    "system:public-info-viewer": ("get at /healthz /livez /readyz /version /version/",),
    "system:service-account-issuer-discovery": (
        (
            "get at /.well-known/openid-configuration /.well-known/openid-configuration/ "
            "/openid/v1/jwks /openid/v1/jwks/"
        ),
    ),
    "system:volume-scheduler": (
        "read patch update of persistentvolumes",
        "read of storageclasses in storage.k8s.io",
        "read patch update of persistentvolumeclaims",
    ),
}

AGGREGATED: dict[str, str] = {"admin": "", "edit": "admin", "view": "edit"}
"""Roles that gather the rules of all roles labelled for them, and whom they are gathered by."""

AGGREGATED_INTO: dict[str, str] = {
    "system:aggregate-to-admin": "admin",
    "system:aggregate-to-edit": "edit",
    "system:aggregate-to-view": "view",
}

BINDINGS: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("Group system:masters",),
    "system:basic-user": ("Group system:authenticated",),
    "system:discovery": ("Group system:authenticated",),
    "system:kube-controller-manager": ("User system:kube-controller-manager",),
    "system:kube-dns": ("ServiceAccount kube-dns",),
    "system:kube-scheduler": ("User system:kube-scheduler",),
    "system:monitoring": ("Group system:monitoring",),
    "system:node": (),
    "system:node-proxier": ("User system:kube-proxy",),
    "system:public-info-viewer": (
        "Group system:authenticated",
        "Group system:unauthenticated",
    ),
    "system:service-account-issuer-discovery": ("Group system:serviceaccounts",),
    "system:volume-scheduler": ("User system:kube-scheduler",),
}
"""Cluster role -> who has it by default; the binding has the role's name."""

NAMESPACE_ROLES: dict[str, tuple[str, ...]] = {
    "kube-public/system:controller:bootstrap-signer": (
        "read of configmaps",
        "update of configmaps named cluster-info",
        EVENTS,
    ),
    "kube-system/extension-apiserver-authentication-reader": (
        "read of configmaps named extension-apiserver-authentication",
    ),
    "kube-system/system::leader-locking-kube-controller-manager": (
        "read create update of leases in coordination.k8s.io",
        "read create update of leasecandidates in coordination.k8s.io",
    ),
    "kube-system/system::leader-locking-kube-scheduler": (
        "read create update of leases in coordination.k8s.io",
        "read create update of leasecandidates in coordination.k8s.io",
    ),
    "kube-system/system:controller:bootstrap-signer": ("read of secrets",),
    "kube-system/system:controller:cloud-provider": ("read create of configmaps",),
    "kube-system/system:controller:token-cleaner": (
        "read delete of secrets",
        EVENTS,
    ),
}
"""`namespace/name` -> rules."""

NAMESPACE_BINDINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "kube-public/system:controller:bootstrap-signer": (
        "system:controller:bootstrap-signer",
        ("ServiceAccount bootstrap-signer",),
    ),
    "kube-system/system::extension-apiserver-authentication-reader": (
        "extension-apiserver-authentication-reader",
        ("User system:kube-controller-manager", "User system:kube-scheduler"),
    ),
    "kube-system/system::leader-locking-kube-controller-manager": (
        "system::leader-locking-kube-controller-manager",
        (
            "User system:kube-controller-manager",
            "ServiceAccount kube-controller-manager",
            "ServiceAccount leader-election-controller",
        ),
    ),
    "kube-system/system::leader-locking-kube-scheduler": (
        "system::leader-locking-kube-scheduler",
        ("User system:kube-scheduler", "ServiceAccount kube-scheduler"),
    ),
    "kube-system/system:controller:bootstrap-signer": (
        "system:controller:bootstrap-signer",
        ("ServiceAccount bootstrap-signer",),
    ),
    "kube-system/system:controller:cloud-provider": (
        "system:controller:cloud-provider",
        ("ServiceAccount cloud-provider",),
    ),
    "kube-system/system:controller:token-cleaner": (
        "system:controller:token-cleaner",
        ("ServiceAccount token-cleaner",),
    ),
}
"""`namespace/name` -> the role in that namespace, and who has it."""

OWN_ROLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kpy:cluster-dns": (
        ("list watch of namespaces",),
        ("User system:kube-proxy",),
    ),
    "kpy:ingress": (
        ("list watch of ingresses ingressclasses in networking.k8s.io",),
        ("User system:kube-proxy",),
    ),
    "kpy:ingress-controller": (
        (
            "read of ingresses ingressclasses in networking.k8s.io",
            "patch update of ingresses/status in networking.k8s.io",
            "read of nodes services",
            "create of services",
            "delete patch update of services named kpy-ingress",
            "read of endpointslices in discovery.k8s.io",
            "create of endpointslices in discovery.k8s.io",
            "delete patch update of endpointslices in discovery.k8s.io named kpy-ingress-ipv4",
            "delete patch update of endpointslices in discovery.k8s.io named kpy-ingress-ipv6",
            EVENTS,
        ),
        ("ServiceAccount ingress-controller",),
    ),
    "kpy:network-policies": (
        ("list watch of networkpolicies in networking.k8s.io", "list watch of pods namespaces"),
        ("User system:kube-proxy",),
    ),
    "kpy:local-storage": (
        (
            "read create delete update of persistentvolumes",
            "read update of persistentvolumeclaims",
            "read patch of nodes",
            "read of storageclasses in storage.k8s.io",
            "read create delete update of csistoragecapacities in storage.k8s.io",
            EVENTS,
        ),
        ("ServiceAccount local-path-provisioner",),
    ),
    "system:cloud-controller-manager": (
        (
            EVENTS,
            "read delete patch update of nodes",
            "patch update of nodes/status",
            "read patch update of services",
            "patch update of services/status",
            "list watch of pods",
            "list watch of endpointslices in discovery.k8s.io",
            "create of leases in coordination.k8s.io",
            "get update of leases in coordination.k8s.io named cloud-controller-manager",
        ),
        (
            "User system:cloud-controller-manager",
            "ServiceAccount cloud-controller-manager",
        ),
    ),
}
"""Cluster roles that upstream leaves to add-ons: name -> rules and who has them. Nodes answer
cluster DNS, serve ingresses and enforce network policies with kube-proxy's rights and the roles
that are bound to it; the others are controllers'."""
