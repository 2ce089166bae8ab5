"""docs/compatibility.md is what its script prints, and its remarks are about kinds that exist."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from minikube_py.api.kinds import BUILTIN

SCRIPT = Path(__file__).parents[3] / "packaging/compatibility.py"


@pytest.fixture(scope="module")
def compatibility() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compatibility", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_script_prints(compatibility: ModuleType) -> None:
    assert compatibility.PAGE.read_text() == compatibility.page(), (
        "run `python packaging/compatibility.py --write`"
    )


def test_every_remark_is_about_a_kind_that_is_served(compatibility: ModuleType) -> None:
    served = {resource.group_resource for resource in BUILTIN}
    assert not {*compatibility.REMARKS, *compatibility.DRIVEN_BY} - served
