"""Certificate signing requests: a certificate wanted, approved, issued."""

from minikube_py.api.object import get
from minikube_py.api.resource import AGE, NAME, Column, Resource, Subresource

CERTIFICATESIGNINGREQUESTS = Resource(
    group="certificates.k8s.io",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    namespaced=False,
    short_names=("csr",),
    schema="io.k8s.api.certificates.v1.CertificateSigningRequest",
    subresources=(
        Subresource(name="approval", shares_object=True),
        Subresource(name="status", shares_object=True),
    ),
    columns=(
        NAME,
        AGE,
        Column("SignerName"),
        Column("Requestor"),
        Column("RequestedDuration"),
        Column("Condition"),
    ),
    selectable_fields={
        "spec.signerName": lambda obj: get(obj, "spec.signerName", ""),
    },
)
