"""Plug-ins by name: every table of the package, and how a table makes, names and reads back what it lists."""

import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum
from importlib import import_module
from typing import Any, Literal

import pytest

from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates import FDivergence, KullbackLeibler, NeymanPearson, Renyi
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.data.registry import DATASETS
from noiseproof.errors import InvalidInputError
from noiseproof.models.registry import MODELS
from noiseproof.noises import Gaussian, Noise
from noiseproof.noises.registry import NOISES
from noiseproof.objectives.registry import OBJECTIVES
from noiseproof.plugins import Registry, changed, changes_of, recorded_as, spec_of

REGISTRIES: list[Registry[Any]] = [ATTACKS, BOUNDS, CERTIFICATES, DATASETS, MODELS, NOISES, OBJECTIVES]


def test_listing_names_loads_neither_torch_nor_numpy() -> None:
    lines = [f"import {table.package}.registry as each; print(*vars(each)[each.__all__[0]])" for table in REGISTRIES]
    code = "\n".join([*lines, "import sys; print(*{'torch', 'numpy', 'scipy'} & set(sys.modules), sep='')"])
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.split() for line in result.stdout.splitlines()] == [*map(list, REGISTRIES), []]


@pytest.mark.parametrize("table", REGISTRIES, ids=lambda table: table.kind)
def test_every_place_exists_and_is_exported(table: Registry[Any]) -> None:
    package = import_module(table.package)
    for name in table:
        assert callable(table[name])
        assert name == name.lower()
        assert "_" not in name
    for name in table.exports:
        assert getattr(package, name) is table.export(name) is not None
    assert dir(package) == sorted(package.__all__) == table.exports
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        table.export("nothing")


@pytest.mark.parametrize("table", [ATTACKS, CERTIFICATES, OBJECTIVES], ids=lambda table: table.kind)
def test_every_plug_in_is_read_back_from_its_record(table: Registry[Any]) -> None:
    for name in table:
        made = table.make(name)
        assert table.from_spec(table.spec(made)) == made


def test_nested_plug_ins_are_recorded_by_the_names_of_their_classes() -> None:
    spec = {"name": "FDivergence", "divergence": {"name": "KullbackLeibler"}}
    assert CERTIFICATES.spec(CERTIFICATES.make("kl")) == spec
    assert CERTIFICATES.from_spec(spec) == FDivergence(KullbackLeibler())
    assert CERTIFICATES.from_spec({"name": "Renyi", "min_order": 1.0}) == Renyi(min_order=1.0)
    assert CERTIFICATES.from_spec({"name": "renyi"}) == Renyi()


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"name": "Tight"},
        {"name": "Certificate"},
        {"name": "KullbackLeibler"},
        {"name": "converted_radius"},
        {"name": "Renyi", "order": 2.0},
        {"name": ["Renyi"]},
        {"name": "FDivergence", "divergence": {"name": "KullbackLeibler", "order": 1.0}},
        {"name": "FDivergence"},
        "Renyi",
    ],
)
def test_what_is_no_plug_in_of_this_version_cannot_be_read(bad: Any) -> None:
    with pytest.raises(InvalidInputError, match="certificate must be one of neyman-pearson, renyi, "):
        CERTIFICATES.from_spec(bad)


def test_a_plug_in_that_no_record_could_name_has_no_spec() -> None:
    class Own(NeymanPearson):
        pass

    with pytest.raises(InvalidInputError, match=r"certificate must be one of noiseproof\.certificates, for a record"):
        CERTIFICATES.spec(Own())


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=f"noise must be one of {', '.join(NOISES)}; got 'cauchy'"):
        NOISES.make("cauchy")


class Colour(Enum):
    """Two colours, each written in its own way."""

    RED = "red"
    BLUE = "blue"

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Machine:
    """Settings of every type that is read from text, and two that are not."""

    turns: int = 3
    speed: float = 0.5
    width: float | None = None
    loud: bool = False
    title: str = "a"
    form: Literal["round", "flat"] = "round"
    colour: Colour = Colour.RED
    copies: int = field(default=4, metadata=recorded_as("draws"))
    noise: Noise | None = None
    steps: tuple[int, ...] = ()
    cache: int = field(default=0, compare=False)
    fixed: int = field(default=1, init=False)


def test_settings_are_read_by_the_types_of_their_fields() -> None:
    changes = ["turns=7", "speed=2", "width=1e-3", "loud=true", "title=x=y", "form=flat", "colour=blue", "copies=9"]
    expected = Machine(7, 2.0, 0.001, True, "x=y", "flat", Colour.BLUE, 9)
    found = changed(Machine(), changes)
    assert found == expected
    assert isinstance(found.speed, float)
    assert changed(found, ["width=none", "loud=false"]) == changed(expected, ["loud=false", "width=none"])
    assert changed(found, ["width=none"]).width is None
    assert changed(found, []) == found


def test_the_changes_of_a_plug_in_make_it_again() -> None:
    made = Machine(7, 2.0, 0.001, True, "x=y", "flat", Colour.BLUE, 9)
    texts = changes_of(made)
    assert texts == [
        "turns=7",
        "speed=2.0",
        "width=0.001",
        "loud=true",
        "title=x=y",
        "form=flat",
        "colour=blue",
        "copies=9",
    ]
    assert changed(Machine(), texts) == made
    assert changes_of(Machine()) == []
    assert changes_of(Machine(width=None, loud=False, turns=4)) == ["turns=4"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("turns=1.5", "turns must be a whole number; got '1.5'. Usual: 3."),
        ("speed=fast", "speed must be a number; got 'fast'. Usual: 0.5."),
        ("width=wide", "width must be a number or none; got 'wide'. Usual: none."),
        ("loud=1", "loud must be true or false; got '1'. Usual: false."),
        ("form=square", "form must be round or flat; got 'square'. Usual: round."),
        ("colour=green", "colour must be red or blue; got 'green'. Usual: red."),
    ],
)
def test_a_value_of_another_type_is_refused(change: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        changed(Machine(), [change])
    assert str(caught.value) == message


@pytest.mark.parametrize("change", ["turns", "=3", "depth=3", "noise=none", "steps=1", "cache=1", "fixed=2", "draws=3"])
def test_only_settings_are_changed(change: str) -> None:
    known = "turns=3, speed=0.5, width=none, loud=false, title=a, form=round, colour=red, copies=4"
    with pytest.raises(InvalidInputError) as caught:
        changed(Machine(), [change])
    assert str(caught.value).startswith("changes must be NAME=VALUE with a setting of Machine; got")
    assert str(caught.value).endswith(f"It has {known}.")


def test_records_keep_settings_under_their_own_names() -> None:
    assert spec_of(Machine(noise=Gaussian(0.25), colour=Colour.BLUE)) == {
        "name": "Machine",
        "turns": 3,
        "speed": 0.5,
        "width": None,
        "loud": False,
        "title": "a",
        "form": "round",
        "colour": "blue",
        "draws": 4,
        "noise": {"name": "Gaussian", "sigma": 0.25},
        "steps": (),
    }
