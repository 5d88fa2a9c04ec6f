"""From names on the command line to a defence under attack: what `attack`, `rejudge`, `audit` and `ladder` share."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from torch import nn

from noiseproof import objectives
from noiseproof.attacks import Attack, Batch, Defence
from noiseproof.attacks.expectation import differentiable
from noiseproof.classifiers import accelerate, keep_large_blocks, multiplies_bfloat16
from noiseproof.classifiers.runners import FunctionRunner, Runner
from noiseproof.cli import names
from noiseproof.cli.console import messages, progress_bar, resumable, say
from noiseproof.cli.counting import Engine, running
from noiseproof.cli.subject import DataChoice, Subject
from noiseproof.data import Dataset
from noiseproof.errors import InvalidInputError, RunError
from noiseproof.noises import from_spec
from noiseproof.runs.attack import Limits, attack_into, judge_into, plan_attack
from noiseproof.runs.attack_records import AttackRecord, AttackSettings
from noiseproof.runs.records import Record, RecordSettings
from noiseproof.storage.provenance import provenance, same_model
from noiseproof.training import CHECKPOINT

if TYPE_CHECKING:
    from noiseproof.noises import Noise
    from noiseproof.perturbations.norms import Norm

_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""

_A_SUM_OF_ONE = 0.01
"""How near to 1 the scores of a softmax add up, 16 bits included."""

__all__ = ["Opponent", "chosen_subject", "noise_of", "require_recorded", "run_attack", "run_judging"]


def chosen_subject(
    run: Path,
    model: str | None,
    weights: Path | None,
    choice: DataChoice,
    sigma: float | None,
    noise: names.NoiseName | None = None,
) -> Subject:
    """Return what is attacked; a sigma of 0, no noise, is left to `noise_of`.

    Raises:
        InvalidInputError: weights without a model.
    """
    wanted = sigma or (None if sigma is None or model is None or _knows_its_noise(model) else 1.0)
    if model is not None:
        return Subject.brought(model, weights, choice, noise, wanted)
    if weights is not None:
        raise InvalidInputError("--weights", required="given with --model", got="no --model", remedy="Name the model.")
    name = _recorded_name(run)
    if name is not None and _knows_its_noise(name) and not (run / CHECKPOINT).exists():
        return Subject.brought(name, None, choice, noise, wanted)
    return Subject.trained(run, wanted, choice)


def noise_of(subject: Subject, sigma: float | None) -> "Noise | None":
    """Return the noise of the defence; None, no noise, for a sigma of 0 and for networks trained without noise."""
    if sigma is not None:
        return subject.noise if sigma > 0.0 else None
    objective = subject.training.get("settings", {}).get("objective", {}).get("name")
    return None if objective is not None and not _noisy(objective) else subject.noise


class Opponent:
    """A classifier ready to be attacked and to vote.

    Args:
        subject: the classifier and its data.
        noise: of the defence, or None.
        engine: how it runs.
        recorded: the engine of the record to be continued or audited, or None.
        votes: about how many it will be asked for.
        seed: of the run.
    """

    def __init__(
        self, subject: Subject, noise: "Noise | None", engine: Engine, recorded: Any, *, votes: int, seed: int
    ) -> None:
        keep_large_blocks()
        self.subject, self.noise = subject, noise
        self.where = names.device(engine.device)
        voter, batch_size = running(subject, engine, recorded, votes=votes, seed=seed, where=self.where)
        if not isinstance(voter, Runner):
            voter = FunctionRunner(voter, "numpy")  # what it gets when it is certified
        coarse = voter.settings()["precision"] in {"bf16", "int8"}
        self.gradients = "bf16" if coarse and multiplies_bfloat16(self.where) else "fp32"
        self._voter, self._batch_size = voter, batch_size

    def against(self, attack: Attack) -> Defence:
        """Return the defence as an attack meets it: one on decisions asks the voter itself, the others differentiate.

        A voter of one large batch size would fill up every question of a few rows: there the network that others
        differentiate is asked. It differs by its rounding, and the voter itself judges what was found.
        """
        network = self._voter
        small = attack.follows_gradients or network.batch_size is not None
        if small and isinstance(self.subject.classifier, nn.Module):
            network = accelerate(self.subject.classifier, precision=self.gradients, device=self.where)
        return self._defence(network)

    def voting(self) -> Defence:
        """Return the defence as it votes: on points that were found before."""
        return self._defence(self._voter)

    def _defence(self, network: Runner) -> Defence:
        return Defence(network, self.noise, self.subject.dataset.num_classes, self._voter, self._batch_size)


def run_attack(
    opponent: Opponent,
    attack: Attack,
    out: Path,
    *,
    norm: "Norm",
    sizes: list[float],
    samples: int,
    alpha: float,
    seed: int,
    every: int = 1,
    limit: int | None = None,
    limits: Limits | None = None,
    title: str = "attack",
) -> AttackRecord:
    """Attack into a record in `out`, with progress; goes on where it was stopped."""
    dataset, defence = opponent.subject.dataset, opponent.against(attack)
    settings = plan_attack(
        dataset,
        defence,
        attack,
        model=opponent.subject.model,
        norm=norm,
        sizes=sizes,
        samples=samples,
        alpha=alpha,
        seed=seed,
        every=every,
        limit=limit,
        limits=limits,
        gradients=opponent.gradients,
    )
    _try_out(attack, defence, dataset, norm)
    record = AttackRecord.create(out, settings, _about(opponent))
    _fill(record, title, lambda add: attack_into(record, attack, defence, dataset, limits=limits, progress=add))
    return record


def run_judging(
    opponent: Opponent,
    found: AttackRecord,
    out: Path,
    *,
    samples: int,
    seed: int | None,
    alpha: float | None,
    title: str,
) -> AttackRecord:
    """Judge the points of a record anew into one in `out`, with progress; goes on where it was stopped."""
    import torch

    dataset, defence = opponent.subject.dataset, opponent.voting()
    settings = found.settings.again(defence.engine(), samples=samples, seed=seed, alpha=alpha)
    defence.try_out(torch.as_tensor(dataset.read(range(1))).to(defence.device))
    record = AttackRecord.create(out, settings, _about(opponent) | {"points": str(found.path)})
    _fill(record, title, lambda add: judge_into(record, found, defence, progress=add))
    return record


def require_recorded(path: Path, subject: Subject, settings: AttackSettings | RecordSettings, *, done: str) -> None:
    """Raise RunError unless classifier, noise and data are those of a record: what was `done` with them is said of them.

    Args:
        path: of the record.
        subject: classifier, noise and data.
        settings: of the record.
        done: certified or attacked.
    """
    found = subject.dataset.about()
    recorded = None if settings.noise is None else from_spec(settings.noise)
    for what, before, here, agree in (
        ("classifier", dict(settings.model), subject.model, same_model(settings.model, subject.model)),
        ("noise", str(recorded), str(subject.noise), recorded == subject.noise),
        ("data", dict(settings.data), found, all(found.get(key) == value for key, value in settings.data.items())),
    ):
        if not agree:
            raise RunError(
                str(path),
                required=f"with the {what} that was {done}, {before}",
                got=here,
                remedy="Name that: --model and --weights, --data.",
            )


def _about(opponent: Opponent) -> dict[str, Any]:
    training, shape = opponent.subject.training, list(opponent.subject.dataset.image_shape)
    return provenance(opponent.where) | {"image_shape": shape} | ({"training": training} if training else {})


def _fill(record: AttackRecord, title: str, work: Callable[[Callable[[int], None]], list[int]]) -> None:
    """Do what is missing of a record, with progress; `work` is given what to tell of images, and returns what it left."""
    settings = record.settings
    missing, faults = record.missing()
    for fault in faults:
        say(f"[yellow]Made anew:[/] {escape(str(fault))}")
    left = sum(len(record.shard_indices(shard)) for shard in missing)
    done = len(settings.indices) - left
    if done:
        say(f"{done} of {len(settings.indices)} images were done before.")
    if not missing:
        return
    with (
        resumable("Every finished shard is saved."),
        progress_bar(title, left * len(settings.sizes), visible=messages.is_terminal) as (bar, task),
    ):
        busy = work(_Progress(left * len(settings.sizes), lambda step: bar.advance(task, step)))
    if busy:
        say("[yellow]Left to another process:[/] run the same command again when it has ended.")


def _try_out(attack: Attack, defence: Defence, dataset: Dataset, norm: "Norm") -> None:
    """Begin the attack on one image, so that what cannot be attacked leaves no record behind."""
    import torch

    images = torch.as_tensor(dataset.read(range(1))).to(defence.device)
    labels = torch.as_tensor(dataset.labels[:1]).to(defence.device)
    attack.begin(defence, Batch(images, labels, range(1)), norm)
    defence.try_out(images)
    if attack.follows_gradients:
        with torch.no_grad():
            scores = torch.as_tensor(differentiable(defence.network)(images)).double()
        if bool((scores >= 0.0).all()) and abs(float(scores.sum()) - 1.0) < _A_SUM_OF_ONE:
            say(
                "[yellow]Probabilities?[/] The network's scores add up to 1. Attacks take a softmax of scores, and that of "
                "a softmax has hardly any slope: attack the network without its last layer, or it will look robust."
            )


class _Progress:
    """Tells of images attacked: to a bar, or as a line every half minute where there is no terminal."""

    def __init__(self, total: int, advance: Callable[[int], None]) -> None:
        self._total, self._advance = total, advance
        self._done, self._begun = 0, time.perf_counter()
        self._told = self._begun

    def __call__(self, step: int) -> None:
        self._advance(step)
        self._done += step
        now = time.perf_counter()
        if not messages.is_terminal and now - self._told >= _EVERY:
            self._told = now
            left = (now - self._begun) * (self._total / self._done - 1.0)
            say(f"{100 * self._done / self._total:.0f} % of images and sizes, {left:.0f} s left")


def _knows_its_noise(model: str) -> bool:
    return model.startswith("zoo:") or model.endswith(".safetensors")


def _recorded_name(run: Path) -> str | None:
    """The classifier that a run folder was certified with."""
    return str(Record.open(run).settings.model["name"]) if (run / Record.configuration).exists() else None


def _noisy(objective: str) -> bool:
    known = getattr(objectives, objective, None)
    return known is None or bool(known.noisy)
