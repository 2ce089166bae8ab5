"""Pods that break a rule, each with every error in full; `refused_pods.yaml` holds them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from minikube_py.api.core import PODS
from minikube_py.api.core.pod_prepare import prepare_for_create
from minikube_py.api.core.pod_validation import validate_pod_template
from minikube_py.api.fields import Field, FieldError
from minikube_py.api.object import Obj
from tests.frozen import freeze

CASES = yaml.safe_load(Path(__file__).with_name("refused_pods.yaml").read_text())
ONLY_IN_PODS = (
    # What a server asks of pods alone, or only knows once a pod has a name and its own labels.
    "spec.ephemeralContainers: Forbidden",
    "spec.nodeName: Forbidden",
    "must not have leading or trailing whitespace",
    "exists in both matchLabelKeys and labelSelector",
    "must not reference a PVC that gets created",
)


def made(case: dict[str, Any]) -> Obj:
    container = {"name": "c", "image": "i", **case.get("container", {})}
    spec = {"serviceAccountName": "default", "containers": [container], **case.get("spec", {})}
    metadata = {
        "name": "p",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"a": "b"},
        "annotations": case.get("annotations", {}),
    }
    return PODS.default(freeze({"metadata": metadata, "spec": spec}))


def refused(spec: dict[str, Any]) -> list[str]:
    pod = prepare_for_create(made({"spec": spec}))
    return [without_examples(error) for error in PODS.validate(freeze(pod), None)]


def without_examples(error: FieldError) -> str:
    return str(error).partition(" (e.g. '")[0].partition(" (regex used")[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "+".join(case.get("spec", case)))
def test_a_pod_is_refused_for_all_that_is_wrong_with_it(case: dict[str, Any]) -> None:
    pod = freeze(prepare_for_create(made(case)))
    assert [without_examples(error) for error in PODS.validate(pod, None)] == case["errors"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "+".join(case.get("spec", case)))
def test_a_template_is_refused_for_what_its_pods_would_be(case: dict[str, Any]) -> None:
    if any(words in text for text in case["errors"] for words in ONLY_IN_PODS):
        return
    pod = made(case)
    template = {"metadata": pod["metadata"], "spec": pod["spec"]}
    found = [error.field for error in validate_pod_template(template, Field("t"))]
    wanted = [text.partition(": ")[0] for text in case["errors"]]
    assert [field for field in found if field.startswith("t.spec")] == [
        f"t.{field}" for field in wanted if field.startswith("spec")
    ]


def test_what_is_too_long_is_refused() -> None:
    error, *_ = refused({"dnsConfig": {"searches": ["x." * 1025 + "x"]}})
    assert error.endswith(
        "must not have more than 2048 characters (including spaces) in the search list"
    )
    options = {"runAsUserName": f"{'d' * 256}\\{'u' * 105}", "gmsaCredentialSpec": "x" * 65537}
    errors = refused({"securityContext": {"windowsOptions": options}})
    assert [error.rpartition(": ")[2] for error in errors] == [
        "gmsaCredentialSpec size must be under 64 KiB",
        "runAsUserName's Domain length must be under 256 characters",
        "runAsUserName's Domain doesn't match the NetBios nor the DNS format",
        "runAsUserName's User length must not be longer than 104 characters",
    ]
