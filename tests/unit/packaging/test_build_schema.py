"""The type tables: what the build undoes of its source, and what it reads of Go structs."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"


def load(name):
    """Import a script of packaging/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, PACKAGING / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


go_types = load("go_types")
go_facts = load("go_facts")
build_schema = load("build_schema")


def test_made_up_nulls_and_enums_are_undone_and_references_shortened():
    given = {
        "properties": {
            "enum": {"type": ["string", "null"]},
            "kind": {"type": ["string", "null"], "enum": ["Pod"]},
            "list": {"type": ["array", "null"], "items": {"$ref": "#/$defs/a.b"}},
        },
        "type": "object",
    }
    assert build_schema._clean(given) == {
        "properties": {
            "enum": {"type": "string"},
            "kind": {"type": "string"},
            "list": {"type": "array", "items": {"$ref": "a.b"}},
        },
        "type": "object",
    }


def test_types_and_descriptions_are_parted():
    given = {"description": "d", "properties": {"a": {"type": "string", "description": "e"}}}
    bare, texts = build_schema.split(given)
    assert bare == {"properties": {"a": {"type": "string"}}}
    assert texts == {"": "d", "a": "e"}


def test_the_tables_are_younger_than_what_makes_them():
    assert build_schema.is_current()


def test_a_download_that_is_not_the_expected_one_is_thrown_away(tmp_path, monkeypatch):
    monkeypatch.setattr(build_schema, "CACHE", tmp_path)
    wheel = build_schema.Wheel("a==1", "a.whl", "0" * 64, "member")
    (tmp_path / "a.whl").write_bytes(b"other")
    with pytest.raises(SystemExit, match="sha256 is"):
        build_schema.read(wheel)
    assert not (tmp_path / "a.whl").exists()


@dataclass
class FakeType:
    kind: str


@pytest.mark.parametrize(
    ("tag", "kind", "emit"),
    [
        ('json:"a,omitempty"', "string", "omit"),
        ('json:"a,omitempty"', "slice", "omit"),
        ('json:"a,omitempty"', "pointer", "keep"),
        ('json:"a"', "pointer", "null"),
        ('json:"a"', "int32", "always"),
        ('json:"a,omitempty"', "struct", "always"),
        ('json:"a,omitempty,omitzero"', "struct", "zero"),
    ],
)
def test_what_becomes_of_an_empty_field_follows_gos_encoder(tag, kind, emit):
    field = go_types.GoField("A", tag, embedded=False, type=FakeType(kind))
    assert go_facts._emit(field) == emit


def test_a_tag_is_read_by_its_key():
    tag = 'json:"name,omitempty" protobuf:"bytes,1,opt,name=name"'
    field = go_types.GoField("Name", tag, embedded=False, type=FakeType("string"))
    assert field.tag_value("json") == "name,omitempty"
    assert field.tag_value("protobuf") == "bytes,1,opt,name=name"
    assert field.tag_value("yaml") == ""


def test_every_line_of_the_extension_types_is_a_definition_with_its_fields():
    for name, fields in go_facts._extension_types().items():
        assert name.startswith("io.k8s.")
        numbers = [number for number, _ in fields.values() if number]
        assert len(numbers) == len(set(numbers))
