"""What a command does where an option is left out: as help and documentation say, and as Python does."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from cyclopts import Parameter

from noiseproof.attacks import Attack
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.cli.attack import attack
from noiseproof.cli.audit import audit
from noiseproof.cli.certify import certify
from noiseproof.cli.options import (
    AttackOptions,
    EngineOptions,
    ImageOptions,
    ProcedureOptions,
    StoppingOptions,
)
from noiseproof.cli.rejudge import rejudge
from noiseproof.cli.train import OptimiserOptions, TrainingDataOptions, TrainingOptions, train
from noiseproof.cli.verify import verify
from noiseproof.data import IMAGE_SIZE
from noiseproof.runs import AttackImages, Audit, Engine, Rejudge, Selection, SequentialVotes, Verify
from noiseproof.runs.begun import certification
from noiseproof.runs.counts import CountVotes
from noiseproof.training import TrainingSettings


def of_call(function: Any) -> dict[str, Any]:
    return {name: each.default for name, each in inspect.signature(function).parameters.items()}


def of_class(kind: Any) -> dict[str, Any]:
    return {each.name: each.default for each in fields(kind)}


def shown(options: Any, name: str) -> str:
    """What the help shows as the default of an option."""
    for note in get_args(get_type_hints(options, include_extras=True)[name])[1:]:
        if isinstance(note, Parameter) and isinstance(note.show_default, str):
            return note.show_default
    raise AssertionError(f"{name} shows none")


AS_IN_PYTHON = [
    (AttackOptions, AttackImages, {"samples": 1000, "alpha": 0.001}),
    (attack, AttackImages, {"seed": 0}),
    (AttackOptions, Attack.__call__, {"samples": 1000, "alpha": 0.001}),
    (attack, Attack.__call__, {"seed": 0}),
    (rejudge, Rejudge, {"samples": 10_000, "seed": None, "alpha": None}),
    (audit, Audit, {"samples": 10_000, "seed": 1}),
    (EngineOptions, Engine, {"precision": "auto", "compiled": None, "batch_size": None, "sampler": None}),
    (EngineOptions, Engine, {"device": "auto"}),
    (TrainingOptions, TrainingSettings, {"batch_size": 64, "precision": "auto"}),
    (TrainingDataOptions, TrainingSettings, {"augment": "none"}),
    (OptimiserOptions, TrainingSettings, {"optimiser": "Adam", "learning_rate": 1e-3, "schedule": "constant"}),
    (OptimiserOptions, TrainingSettings, {"warmup_epochs": 0.0, "ramp_epochs": 0.0, "average": None, "clip": None}),
    (OptimiserOptions, TrainingSettings, {"momentum": 0.9, "weight_decay": 0.0}),
    (train, TrainingSettings, {"seed": 0}),
]


@pytest.mark.parametrize(("command", "python", "said"), AS_IN_PYTHON)
def test_what_is_left_out_is_as_in_python_and_as_documented(
    command: Any, python: Any, said: Mapping[str, object]
) -> None:
    for where in (command, python):
        found = of_class(where) if inspect.isclass(where) else of_call(where)
        assert {name: found[name] for name in said} == said, where


def test_what_is_trained_attacked_and_verified_where_nothing_is_said() -> None:
    trained, data = of_class(TrainingOptions), of_class(TrainingDataOptions)
    assert [trained[name] for name in ("objective", "noise", "sigma")] == ["stability", "gaussian", 0.25]
    assert (data["data"], IMAGE_SIZE) == ("digits", 224)
    attacked = of_class(AttackOptions)
    assert (attacked["attack"], attacked["norm"], attacked["changes"], attacked["source"]) == ("pgd", "l2", (), None)
    assert of_call(verify)["norm"] == of_class(Verify)["norm"] == "l2"
    assert of_call(certify)["seed"] is None
    assert CountVotes().seed == 0


def test_a_certification_is_by_what_its_help_shows() -> None:
    job = certification(None, {})
    assert isinstance(job, CountVotes)
    made_for = job.procedure
    fixed, most = (int(number) for number in re.findall(r"\d+", shown(StoppingOptions, "samples")))
    assert (job.samples, made_for.samples) == (fixed, fixed) == (10_000, 10_000)
    assert job.selection_samples == made_for.bound.selection_samples == int(shown(StoppingOptions, "selection_samples"))
    said = [shown(ProcedureOptions, name) for name in ("alpha", "bound", "certificate")]
    names = [f"{made_for.alpha:g}", BOUNDS.name_of(made_for.bound), CERTIFICATES.name_of(made_for.certificate)]
    assert said == [f"the run's, or {name}" for name in names]
    assert names == ["0.001", "two-phase", "neyman-pearson"]
    assert job.selection == ImageOptions().selection() == Selection(1, None)
    for named in ({"radius": (0.5,)}, {"rtol": 0.1}):
        sequential = certification(None, named)
        assert isinstance(sequential, SequentialVotes)
        rule = sequential.rule.spec()
        assert rule["cap"] == most == 100_000
        assert rule["alpha"] == made_for.alpha
        assert rule["beta"] == float(shown(StoppingOptions, "beta")) == 0.001
        assert not rule.get("runner_up")
