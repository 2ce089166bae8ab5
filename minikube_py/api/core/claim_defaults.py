"""What a claim of storage gets where its author said nothing: claims and templates of claims."""

from collections.abc import Mapping
from typing import Any

from minikube_py.api.object import Obj


def default_claim_spec(spec: Obj) -> Obj:
    """Fill in the volume mode; the two ways to name a source are one field in truth."""
    changes: dict[str, Any] = {}
    if spec.get("volumeMode") is None:
        changes["volumeMode"] = "Filesystem"
    if spec.get("resources") is None:
        changes["resources"] = {}
    return {**spec, **changes} if changes else spec


def default_claim_template(template: Obj) -> Obj:
    """Fill in what the user left out of a template of claims."""
    changes: dict[str, Any] = {}
    if "metadata" not in template:
        changes["metadata"] = {}
    spec: Mapping[str, Any] = template.get("spec") or {}
    defaulted = default_claim_spec(spec)
    if defaulted is not spec:
        changes["spec"] = defaulted
    return {**template, **changes} if changes else template
