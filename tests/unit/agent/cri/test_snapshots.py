"""Views of images: which layer is on top, by the rule of the image specification."""

import hashlib

import pytest

from minikube_py.agent.cri.errors import CriError
from minikube_py.agent.cri.snapshots import chain_id, layers_of

LAYERS = [f"sha256:{hashlib.sha256(bytes([n])).hexdigest()}" for n in range(3)]


def digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_the_only_layer_is_its_own_chain():
    assert chain_id(LAYERS[:1]) == LAYERS[0]


def test_each_layer_is_hashed_onto_the_chain_below_it():
    below = digest(f"{LAYERS[0]} {LAYERS[1]}")
    assert chain_id(LAYERS[:2]) == below
    assert chain_id(LAYERS) == digest(f"{below} {LAYERS[2]}")


def test_layers_are_read_from_what_the_runtime_says_of_an_image():
    info = {"info": '{"imageSpec": {"rootfs": {"diff_ids": ["sha256:a", "sha256:b"]}}}'}
    assert layers_of(info) == ["sha256:a", "sha256:b"]


@pytest.mark.parametrize("info", [{}, {"info": "{}"}, {"info": "{"}, {"info": "[]"}])
def test_a_runtime_that_does_not_say_is_told_of(info):
    with pytest.raises(CriError, match="does not tell which layers"):
        layers_of(info)
