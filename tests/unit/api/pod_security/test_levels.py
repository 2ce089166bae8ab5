"""Levels and versions: what the labels of a namespace choose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikube_py.api.pod_security.levels import (
    LATEST,
    LEVELS,
    MODES,
    PREFIX,
    PRIVILEGED,
    LevelVersion,
    Policy,
    minor_of,
    policy_of,
)

RESTRICTED = LevelVersion("restricted")
BASELINE = LevelVersion("baseline")


def labels(**given: str) -> dict[str, str]:
    return {f"{PREFIX}{key.replace('_', '-')}": value for key, value in given.items()}


@pytest.mark.parametrize(
    ("text", "minor"),
    [
        ("latest", LATEST),
        ("v1.0", 0),
        ("v1.36", 36),
        ("v1.10000", 10000),
        ("v2.0", None),
        ("v1", None),
        ("1.1", None),
        ("v1.01", None),
        ("v1.-1", None),
        ("", None),
        ("v1." + "9" * 40, None),
    ],
)
def test_a_version_is_latest_or_a_minor_of_one(text: str, minor: int | None) -> None:
    assert minor_of(text) == minor


def test_without_labels_the_defaults_hold() -> None:
    defaults = Policy(BASELINE, RESTRICTED, LevelVersion("restricted", 25))
    assert policy_of({}, defaults) == (defaults, [])
    assert policy_of({"app": "web"}, defaults) == (defaults, [])


def test_enforcement_fails_closed_and_the_others_open() -> None:
    policy, errors = policy_of(labels(enforce="strict", audit="x", warn="y"), PRIVILEGED)
    assert policy == Policy(RESTRICTED, LevelVersion(), LevelVersion())
    assert [str(error) for error in errors] == [
        (
            'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": '
            "must be one of privileged, baseline, restricted"
        ),
        (
            'metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: "x": '
            "must be one of privileged, baseline, restricted"
        ),
        (
            'metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "y": '
            "must be one of privileged, baseline, restricted"
        ),
    ]
    policy, errors = policy_of(labels(enforce="baseline", enforce_version="v1"), PRIVILEGED)
    assert policy.enforce == BASELINE
    assert 'must be "latest" or "v1.x"' in str(errors[0])


def test_who_is_held_to_more_is_warned_of_as_much() -> None:
    policy, _ = policy_of(labels(enforce="restricted", enforce_version="v1.30"), PRIVILEGED)
    assert policy.warn == policy.enforce == LevelVersion("restricted", 30)
    policy, _ = policy_of(labels(enforce="restricted", warn_version="v1.20"), PRIVILEGED)
    assert policy.warn == LevelVersion("restricted", 20)
    policy, _ = policy_of(labels(enforce="restricted", warn="baseline"), PRIVILEGED)
    assert policy.warn == BASELINE
    policy, _ = policy_of(labels(enforce="baseline"), Policy(warn=RESTRICTED))
    assert policy.warn == RESTRICTED


@given(
    st.dictionaries(
        st.sampled_from([f"{PREFIX}{m}{v}" for m in MODES for v in ("", "-version")]),
        st.sampled_from([*LEVELS, "latest", "v1.30", "bad", ""]),
    )
)
def test_any_labels_give_a_policy_and_an_error_for_each_that_is_wrong(
    given_labels: dict[str, str],
) -> None:
    policy, errors = policy_of(given_labels, PRIVILEGED)
    assert all(mode.level in LEVELS for mode in policy)
    versions = {key for key in given_labels if key.endswith("-version")}
    good = {key for key in versions if given_labels[key] in ("latest", "v1.30")}
    good |= {key for key in given_labels.keys() - versions if given_labels[key] in LEVELS}
    assert len(errors) == len(given_labels) - len(good)


def test_a_policy_reads_as_level_and_version() -> None:
    assert str(BASELINE) == "baseline:latest"
    assert str(LevelVersion("restricted", 25)) == "restricted:v1.25"
    assert LevelVersion("privileged", 3).is_equivalent(LevelVersion())
    assert not BASELINE.is_equivalent(LevelVersion("baseline", 3))
