"""Options: four places, one precedence, and errors that name place and remedy."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from minikube_py.agent.config import AgentConfig, NodeConfig
from minikube_py.cli.config import ProgramConfig, load, options_of, parameters
from minikube_py.cli.main import COMMANDS, program
from minikube_py.lib.errors import StartError
from minikube_py.lib.options import option
from minikube_py.server.config import ServerConfig


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Options of every type."""

    data_dir: Path = option(Path("/var/lib/kpy"), "folder")
    https_port: int = option(6443, "port")
    quiet: bool = option(False, "say less")  # noqa: FBT003
    label: tuple[str, ...] = option((), "labels")
    token: str = option("", "secret", secret=True)


def made(file: Path | None = None, environ: Any = None, **given: Any) -> Sample:
    config = {"config": str(file)} if file else {}
    (sample,) = load(Sample, given={**given, **config}, environ=environ or {})
    return sample


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_a_flag_counts_before_a_variable_before_the_file_before_the_default(file: Path) -> None:
    assert made().https_port == 6443
    file.write_text("https_port: 1")
    assert made(file).https_port == 1
    assert made(file, {"KPY_HTTPS_PORT": "2"}).https_port == 2
    assert made(file, {"KPY_HTTPS_PORT": "2"}, https_port="3").https_port == 3


def test_every_type_comes_from_every_place(file: Path) -> None:
    file.write_text("data-dir: /x\nquiet: true\nlabel: [a=b, c=d]\nhttps-port: 7\ntoken: t\n")
    wanted = Sample(data_dir=Path("/x"), https_port=7, quiet=True, label=("a=b", "c=d"), token="t")
    assert made(file) == wanted
    environ = {
        "KPY_DATA_DIR": "/x",
        "KPY_HTTPS_PORT": "7",
        "KPY_QUIET": "true",
        "KPY_LABEL": "a=b,c=d",
        "KPY_TOKEN": "t",
    }
    assert made(environ=environ) == wanted
    flags = {"data_dir": "/x", "https_port": "7", "quiet": True, "label": ("a=b", "c=d")}
    assert made(**flags, token="t") == wanted


def test_text_in_the_file_stays_as_it_is_written(file: Path) -> None:
    file.write_text("token: 0644\n")
    assert made(file).token == "0644"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "https_port: 1\nhttps_prot: 1",
            r":2: unknown key 'https_prot'; the nearest.*'https_port'",
        ),
        ("https_port: x", r":1: https_port is 'x'; give a whole number"),
        ("a: b\n  c: d", r":2: not valid YAML"),
        ("- a", r":1: not a list of `key: value` lines"),
        ("quiet: maybe", r":1: quiet is 'maybe'; say true or false"),
        ("token: {a: b}", r":1: token must be a value or a list of values"),
        ("token: [a, b]", r":1: token takes one value, not 2"),
        ("token: a\ntoken: b", r":2: key 'token' stands there twice"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(StartError, match=message) as caught:
        made(file)
    assert str(caught.value).startswith(str(file))


def test_an_empty_file_says_nothing(file: Path) -> None:
    file.write_text("# nothing\n")
    assert made(file) == Sample()


def test_a_file_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"there is no configuration file .*; check --config"):
        made(tmp_path / "none.yaml")


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(StartError, match="KPY_HTTPS_PORT is 'x'; give a whole number"):
        made(environ={"KPY_HTTPS_PORT": "x"})


@pytest.mark.parametrize("config", [ServerConfig, NodeConfig, AgentConfig, ProgramConfig])
def test_every_option_has_help_and_a_type_that_all_places_know(config: type) -> None:
    for item in options_of(config).values():
        assert item.field.metadata["help"], item.name
        assert item.type in (Path, int, bool, str, tuple[str, ...]), item.name
        assert item.convert([str(item.field.default)], "x") is not None or item.repeats


K3S_FLAGS = """
    advertise-address bind-address cluster-cidr cluster-dns cluster-domain
    container-runtime-endpoint data-dir datastore-endpoint disable disable-agent
    disable-cloud-controller
    disable-controller-manager disable-kube-proxy disable-network-policy disable-scheduler
    https-listen-port node-ip node-label node-name node-taint pause-image service-cidr
    service-node-port-range tls-san token write-kubeconfig write-kubeconfig-mode
"""


def test_the_flags_are_those_that_k3s_has() -> None:
    flags = {item.flag for item in options_of(ServerConfig, NodeConfig).values()}
    assert flags >= {f"--{name}" for name in K3S_FLAGS.split()}


def test_help_shows_defaults_but_no_secret() -> None:
    text = "".join(str(p.help) for p in parameters(ServerConfig) if isinstance(p, click.Option))
    assert "(default: 6443)" in text
    token = next(f for f in fields(ServerConfig) if f.name == "token")
    assert token.metadata["secret"]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_there(name: str) -> None:
    found = program.get_command(click.Context(program), name)
    assert isinstance(found, click.Command)
    assert found.name == name


def test_version_and_help_need_no_command() -> None:
    result = CliRunner().invoke(program, ["--version"])
    assert result.output.startswith("kpy ")
    assert "control plane" in CliRunner().invoke(program, ["--help"]).output
