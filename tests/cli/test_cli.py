"""The command line as people and programs use it."""

import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image

from command_line import PROGRAM, QUIET, invoke, one_line, process
from noiseproof import cli, data
from noiseproof.classifiers import multiplies_bfloat16
from noiseproof.cli.app import EXIT_CODES
from noiseproof.cli.wording import RENAMED
from noiseproof.models import build
from noiseproof.reports import ladder
from noiseproof.reports.analysis import images_of_file
from noiseproof.runs.records import Record


def test_train_certify_recertify_report(run: Path, tmp_path: Path) -> None:
    tight: dict[str, Any] = json.loads(invoke("recertify", run, "--json", "--radii", "0,0.1,0.2").stdout)
    assert tight["counted"] == tight["planned"] == 60
    assert list(tight["certified_accuracy"]) == ["0", "0.1", "0.2"]
    assert tight["certified_accuracy"]["0.1"] > 0.5
    paper = json.loads(
        invoke(
            *("recertify", run, "--json", "--bound", "bonferroni", "--certificate", "renyi"),
            *("--alpha", "0.05", "--radii", "0.2", "--csv", tmp_path / "images.csv"),
        ).stdout
    )
    assert paper["alpha"] == 0.05
    assert paper["procedure"] == "bonferroni, renyi, alpha 0.05"
    lines = (tmp_path / "images.csv").read_text().splitlines()
    assert lines[0] == "index,label,prediction,p1_lower,p2_upper,radius"
    assert len(lines) == 61

    shown = invoke("report", run, "--out", tmp_path / "report.html")
    assert "certified at radius 0.25" in shown.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"images.csv", "report.html", "report.png", "report.svg"}
    assert "Stability training (STN), sigma 0.25" in (tmp_path / "report.html").read_text()


def test_certifying_again_continues_and_counts_nothing_twice(run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.glob("votes/*")}
    again = invoke("certify", run, "--samples", 300, "--every", 10, "--seed", 1, "--json")
    assert "All 60 images were done before." in again.stderr
    assert json.loads(again.stdout)["counted"] == 60
    assert {path: path.stat().st_mtime_ns for path in run.glob("votes/*")} == before


def test_in_a_log_a_message_is_one_line() -> None:
    refused = process("certify", "nowhere", "--samples", 5, code=2).stderr
    assert refused.count("\n") == 1
    assert len(refused) > int(QUIET["COLUMNS"]), "one that a terminal of this width would wrap"


def test_other_settings_are_refused_by_name(run: Path, tmp_path: Path) -> None:
    refused = one_line(invoke("certify", run, "--samples", 400, "--every", 10, "--seed", 1, code=2).stderr)
    assert "samples 400" in refused
    assert "got samples 300, as recorded." in refused, "which of the two is the record's"
    invoke("certify", run, "--samples", 100, "--limit", 5, "--out", tmp_path / "other", "--sigma", 0.1)
    assert Record.open(tmp_path / "other").settings.noise == {"name": "gaussian", "sigma": 0.1}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["certify", "RUN", "--samples", "5"], "samples must be at least 10 at alpha = 0.001"),
        (["certify", "RUN", "--samples", "12", "--bound", "bonferroni"], "samples must be at least 15"),
        (
            ["certify", "RUN", "--alpha", "1.5"],
            "alpha must be a failure probability in the open interval (0, 1); got 1.5",
        ),
        (["certify", "RUN", "--sigma", "-1"], "sigma must be a finite number > 0"),
        (["certify", "RUN", "--every", "0"], "every must be an integer >= 1; got 0"),
        (
            ["certify", "RUN", "--device", "abacus"],
            "--device must be auto, cpu, cuda or cuda:N on this machine; got 'abacus'",
        ),
        (["certify", "nowhere"], "nowhere/checkpoint.safetensors must be a file; got nothing there. Train first"),
        (["recertify", "nowhere"], "nowhere must be a run folder with record.json; got no such folder"),
        (["recertify", "RUN", "--radii", "0,x"], "--radii must be numbers >= 0 with commas between; got '0,x'"),
        (["recertify", "RUN", "--alpha", "0"], "alpha must be a failure probability"),
        (["report", "nowhere"], "no such folder"),
        (["train", "--out", "OUT", "--epochs", "0"], "epochs must be an integer >= 1"),
        (["train", "--out", "OUT", "--sigma", "nan"], "sigma must be a finite number > 0"),
        (
            ["train", "--out", "OUT", "--set", "weight=2", "--objective", "gaussian"],
            "setting of GaussianAugmentation; got 'weight=2'. It has none",
        ),
        (["train", "--out", "OUT", "--set", "weight=-1"], "weight must be a finite number >= 0"),
        (["train", "--out", "OUT", "--set", "weight=much"], "weight must be a number; got 'much'"),
        (["train", "--out", "OUT", "--objective", "macer", "--set", "copies=1.5"], "copies must be a whole number"),
        (["train", "--out", "OUT", "--objective", "natural", "--ramp-epochs", "1"], "nothing to warm up"),
        (["train", "--out", "OUT", "--data", "mine"], "data must be digits, mnist, cifar10, a path that ends in .npz"),
        (["train", "--out", "OUT", "--data", "mnist", "--data-dir", "OUT"], "train-images-idx3-ubyte"),
        (["certify", "OUT", "--model", "zoo:nobody"], "--model zoo:nobody must be a network of the zoo"),
        (["certify", "OUT", "--model", "nothing.safetensors"], "nothing.safetensors must be a file"),
        (["demo", "--samples", "3", "--out", "OUT"], "samples must be at least 15"),
        (["demo", "--every", "0", "--out", "OUT"], "every must be an integer >= 1"),
        (["certify", "RUN", "--radii", "abc"], "--radii must be numbers >= 0"),
        (["recertify", "RUN", "--alpha", "1e-100"], "samples must be at least"),
        (["report", "RUN", "--out", "OUT"], "ending in .html"),
        (["train", "--out", "OUT", "--seed", "99999999999999999999999"], "seed must be an integer from 0 to 2**64 - 1"),
    ],
)
def test_bad_input_exits_with_2_and_says_what_to_do(
    run: Path,
    arguments: list[str],
    said: str,
    tmp_path: Path,
) -> None:
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    ended = invoke(*(places.get(argument, argument) for argument in arguments), code=2)
    assert said in one_line(ended.stderr)
    assert ended.stdout == ""
    assert not (tmp_path / "out").exists(), "nothing is written before the input is known to be good"


def test_checkpoint_of_another_kind(run: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes((run / "checkpoint.safetensors").read_bytes()[:1000])
    assert "truncated, damaged or not ours" in one_line(invoke("certify", tmp_path, code=2).stderr)


def test_network_that_does_not_fit_the_data(tmp_path: Path) -> None:
    # in a process of its own: in this one the shapes that tests check would be found wrong first
    failed = one_line(process("train", "--model", "paper-mnist", "--out", tmp_path, code=2).stderr)
    assert "model must be a network for images (1, 8, 8) of 10 classes (digits); got paper-mnist" in failed


def test_a_network_that_does_not_fit_is_refused_before_its_data_are_looked_for(tmp_path: Path) -> None:
    arguments = ["train", "--data", "cifar10", "--model", "paper-mnist", "--out", tmp_path / "run"]
    failed = one_line(process(*arguments, "--data-dir", tmp_path / "nowhere", code=2).stderr)
    assert "--model must be a network for images (3, 32, 32) of 10 classes (cifar10); got paper-mnist" in failed
    assert not list(tmp_path.iterdir())


@dataclasses.dataclass(frozen=True)
class Stopped:
    """A command in a process of its own, as a signal ended it."""

    code: int
    messages: str


def stop(arguments: Sequence[object], when: Callable[[], bool], by: int = signal.SIGTERM) -> Stopped:
    """Start a command, send it a signal as soon as something is there, and wait for its end."""
    # A job in the background is started with Ctrl-C ignored, and so is all that it starts: here it must be heard.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    heard += "from noiseproof.runs import shards; shards.KEEP_EVERY = 0.2; from noiseproof.cli import main; main()"
    command = [sys.executable, "-c", heard, *map(str, arguments)]
    started = subprocess.Popen(command, env=QUIET, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    with started:
        while not when() and time.monotonic() < deadline and started.poll() is None:
            time.sleep(0.02)
        started.send_signal(by)
        messages = one_line(started.communicate(timeout=60)[1])
    assert "Traceback" not in messages
    return Stopped(started.returncode, messages)


@pytest.mark.parametrize(("by", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_ends_a_certification_leaves_it_to_go_on(by: signal.Signals, code: int, run: Path, tmp_path: Path) -> None:
    """SLURM, Kubernetes and docker stop send SIGTERM: it does what Ctrl-C does."""
    arguments = ["certify", run, "--samples", 100_000, "--limit", 20, "--precision", "fp32", "--no-compile"]
    stopped = stop([*arguments, "--out", tmp_path], lambda: any(tmp_path.glob("votes/*.partial")), by)
    assert stopped.code == code
    assert "Interrupted. The votes so far are saved, of every image. Confidence is stated when" in stopped.messages
    assert "To go on, run the same command" in stopped.messages
    assert f"noiseproof certify {run} --samples 100000" in stopped.messages
    record = Record.open(tmp_path)
    assert record.missing()[0] == [0], "there is one shard, and it is not whole"
    assert sum(counts.sum() for counts in record.kept(0).values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sign", "said"),
    [
        (["train", "--epochs", 500, "--out", "OUT"], "training.jsonl", "What was saved last is kept."),
        (
            ["certify", "RUN", "--radius", 0.3, "--precision", "fp32", "--out", "OUT"],
            "votes/.0*.lock",  # the first shard is claimed: counting has begun
            "The votes so far are saved, of every image. Confidence is stated when all images are counted.",
        ),
        (
            ["attack", "RUN", "--precision", "fp32", "--out", "OUT", "--set", "steps=500"],
            "attack.json",
            "Every image that is done is saved.",
        ),
        (["audit", "RUN", "--out", "OUT"], "attack.json", "Every image that is done is saved."),
        (
            ["ladder", "RUN", "--precision", "fp32", "--epsilon", 1, "--out", "OUT"],
            "*/attack.json",
            "Every image that is done is saved.",
        ),
        (["demo", "--out", "OUT"], "stability/training.jsonl", "What was saved last is kept."),
        (
            ["reproduce", "figure4", "--make", "--records", "OUT", "--out", "OUT/pictures"],
            "mnist/*",
            "The steps that ended are kept, and the one that was stopped goes on.",
        ),
    ],
)
def test_sigterm_ends_every_long_command_like_ctrl_c(
    arguments: list[object], sign: str, said: str, run: Path, tmp_path: Path
) -> None:
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    typed = [re.sub("RUN|OUT", lambda found: places[found[0]], str(part)) for part in arguments]
    stopped = stop(typed, lambda: any((tmp_path / "out").glob(sign)))
    assert stopped.code == 143
    assert f"Interrupted. {said} To go on, run the same command again" in stopped.messages


def test_what_another_process_works_on_is_incomplete(run: Path, tmp_path: Path) -> None:
    """Each command that fills a record, while another process holds a part of it, and what needs a whole record."""
    attack = ["attack", run, "--out", tmp_path, "--limit", 3, "--epsilons", 0.2, "--set", "steps=1", "--samples", 20]
    commands = (
        ["certify", run, "--out", tmp_path, "--limit", 3, "--samples", 50],
        ["certify", run, "--out", tmp_path, "--limit", 3, "--radius", 0.1],
        attack,
        ["rejudge", tmp_path / "attack", "--out", tmp_path, "--samples", 30, "--model", run / "checkpoint.safetensors"],
    )
    invoke(*[tmp_path / "attack" if part is tmp_path else part for part in attack])
    for command in map(list, commands):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        typed = [folder if part is tmp_path else part for part in command]
        locks = folder / "votes" / ".00000.lock"
        locks.parent.mkdir(parents=True)
        with FileLock(locks):
            told = invoke(*typed, code=3).stderr
        assert "Left to another process" in told
        invoke(*typed)
    half = tmp_path / "half"
    shutil.copytree(run, half)
    Record.open(half).shard_path(0).unlink()
    refused = one_line(invoke("audit", half, code=3).stderr)
    assert "must be at least one shard" in refused


@pytest.mark.parametrize("command", ["ladder", "verify", "demo"])
def test_a_command_of_several_records_ends_with_3_while_another_process_holds_one(
    command: str, trained: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of a ladder, the only one of a verification, and the second of the demo, whose networks are there."""
    out, locked = tmp_path / "out", tmp_path / "out" / "votes"
    if command == "ladder":
        for name in ("DRAWS", "STEPS", "_MIDDLE"):
            monkeypatch.setattr(ladder, name, (1, 2))
        typed = ["ladder", run, "--epsilon", 0.4, "--limit", 3, "--no-decisions", "--samples", 20, "--out", out]
        locked = out / next(iter(ladder.grid())) / "votes"
    elif command == "verify":
        torch.save(build("kw-mnist-small").state_dict(), tmp_path / "stage.pth")
        np.savez(tmp_path / "black.npz", images=np.zeros((2, 1, 28, 28), np.uint8), labels=np.array([0, 9]))
        stage = f"kw-mnist-small={tmp_path / 'stage.pth'}"
        typed = ["verify", out, "--stage", stage, "--radius", 1e-4, "--data", tmp_path / "black.npz"]
    else:
        made = partial(shutil.copytree, trained, dirs_exist_ok=True)
        monkeypatch.setattr(
            "noiseproof.cli.demo.run_training", lambda _settings, _dataset, folder, _device: made(folder)
        )
        typed = ["demo", "--out", out, "--samples", 30, "--every", 100]
        locked = out / "gaussian" / "votes"
    locked.mkdir(parents=True)
    with FileLock(locked / ".00000.lock"):
        told = invoke(*typed, code=3)
    assert "Left to another process" in told.stderr
    assert told.stdout == "", "no result before all of it is there"
    invoke(
        *typed, code=1 if command == "ladder" else 0
    )  # two steps do not make every image wrong, a check of the ladder


def test_exit_codes_are_those_of_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    told = one_line(invoke("--help").stdout)
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in told
        assert re.search(rf"^\| {code} \| .*{meaning.split('; ')[0].split(' ')[-1]}", guide, re.MULTILINE)
    assert f"| {' | '.join(map(str, EXIT_CODES))} |" == "| 0 | 1 | 2 | 3 | 130 | 143 |"


def test_a_thousand_classes_and_folders_for_a_hundred(tmp_path: Path) -> None:
    """The messages lead to the list of names, and with it labels are the classifier's own numbers."""
    pixels = np.zeros((9, 9, 3), np.uint8)
    for number in range(0, 1000, 10):
        (tmp_path / "photos" / f"n{number:03d}").mkdir(parents=True)
        Image.fromarray(pixels + number // 4).save(tmp_path / "photos" / f"n{number:03d}" / "1.png")
    (tmp_path / "names").write_text("".join(f"n{number:03d}\n" for number in range(1000)))
    command = ["certify", tmp_path / "run", "--model", "half_space:grey_of_1000", "--data", tmp_path / "photos"]
    command += ["--image-size", 8, "--sigma", 0.001, "--samples", 60, "--limit", 100]
    refused = one_line(invoke(*command, code=2).stderr)
    assert "float scores of shape" in refused
    assert "for a folder with some of the classes, name all: --classes-file." in refused
    refused = one_line(invoke(*command, "--classes", 1000, code=2).stderr)
    assert "list all their names in its order, a line each:" in refused
    assert "or --classes-file" in refused
    invoke(*command, "--classes-file", tmp_path / "names")
    table = Record.open(tmp_path / "run").read()
    assert table.label.tolist() == list(range(0, 1000, 10))
    assert table.votes.shape == (100, 1000)
    assert (abs(table.votes.argmax(1) - table.label) <= 5).all()
    refused = one_line(
        invoke(
            "certify",
            tmp_path / "no",
            *command[2:4],
            "--sigma",
            1,
            "--data",
            "digits",
            "--classes-file",
            tmp_path / "names",
            code=2,
        ).stderr
    )
    assert "it is for a folder of images" in refused


@pytest.mark.slow
def test_demo_end_to_end(tmp_path: Path) -> None:
    """The demo itself, with small numbers: trained, certified, compared, reported; a second call is quick."""
    arguments = ["demo", "--out", tmp_path, "--epochs", 15, "--samples", 200, "--every", 5, "--json"]
    result = json.loads(invoke(*arguments).stdout)
    assert [model["name"] for model in result["models"]] == [
        "Stability training (STN), sigma 0.25",
        "Gaussian augmentation, sigma 0.25",
    ]
    for model in result["models"]:
        tight, paper = model["procedures"]
        assert tight["natural_accuracy"] > 0.8
        assert tight["certified_accuracy"]["0.25"] >= paper["certified_accuracy"]["0.25"] > 0.2
    page = (tmp_path / "report.html").read_text()
    assert "Certified accuracy against radius" in page
    again = json.loads(invoke(*arguments).stdout)
    assert again["models"] == result["models"]
    assert again["seconds"] < result["seconds"]


def test_radius_prints_every_certificate() -> None:
    radii = json.loads(invoke("radius", "--p1", 0.9, "--p2", 0.05, "--json").stdout)["radii"]
    assert radii["neyman-pearson"]["gaussian"] == pytest.approx(1.46320259625)
    assert radii["neyman-pearson"]["laplace"] == pytest.approx(1.95601150271)
    assert radii["theorem3"]["gaussian"] is None
    assert len(radii) == 10
    table = invoke("radius", "--p1", 0.9).stdout
    assert "1.281551" in table
    assert "1.281552" not in table, "rounded down, not up"
    assert "--p1 must be within" in one_line(invoke("radius", "--p1", 1.5, "--p2", 0.1, code=2).stderr)


@pytest.mark.slow
def test_reproduce_figure5(tmp_path: Path) -> None:
    result = json.loads(invoke("reproduce", "figure5", "--out", tmp_path, "--json").stdout)
    shares = [claim["share"] for claim in result["claims"]]
    assert shares[0] == 1.0, "strictly higher than PixelDP with e <= 1"
    assert 0.85 < shares[1] < 0.9
    assert 0.1 < shares[2] < 0.2
    assert shares[3] == 0.0
    assert {path.name for path in tmp_path.iterdir()} == {"figure5.png", "figure5.svg", "figure5.json"}


@pytest.mark.slow
def test_laplace_noise_from_training_to_report(tmp_path: Path) -> None:
    run = tmp_path / "laplace"
    invoke("train", "--out", run, "--noise", "laplace", "--scale", 0.15, "--epochs", 12, "--objective", "gaussian")
    invoke("certify", run, "--samples", 200, "--every", 20, "--scale", 0.1, "--out", tmp_path / "other")
    invoke("certify", run, "--samples", 200, "--every", 20, "--bound", "single-phase")
    assert Record.open(tmp_path / "other").settings.noise == {"name": "laplace", "scale": 0.1}
    for certificate in ("teng", "theorem3", "renyi"):
        invoke("recertify", run, "--certificate", certificate, "--bound", "winner-runner-up")
    assert "got PixelDP, which holds for Gaussian noise" in one_line(
        invoke("recertify", run, "--certificate", "pixeldp", code=2).stderr
    )
    invoke("report", run, "--out", tmp_path / "report.html")
    assert "ℓ1" in (tmp_path / "report.html").read_text()


# ---- a model of one's own, the engine, parts -------------------------------------------------------------------------


MINE = """
import numpy as np
from torch import nn
from noiseproof.models import DigitsCNN

network = DigitsCNN

class From255(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = DigitsCNN()
    def forward(self, x):
        return self.inner(x / 255)
    def load_state_dict(self, state, **more):
        return self.inner.load_state_dict({key.removeprefix("inner."): value for key, value in state.items()})
    def state_dict(self, *a, **more):
        return {f"inner.{key}": value for key, value in self.inner.state_dict().items()}

def of_8_bits():
    import safetensors.torch
    model = From255()
    model.inner.load_state_dict(safetensors.torch.load_file("mine.safetensors"))
    return model

class Hungry(DigitsCNN):
    def forward(self, x):
        import torch
        if len(x) > 64:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.layers(x)

def hungry():
    import safetensors.torch
    model = Hungry()
    model.load_state_dict(safetensors.torch.load_file("mine.safetensors"))
    return model

def ink():
    return lambda x: np.clip(x.mean(axis=(1, 2, 3)) * 20, 0, 9).astype(int)
"""


@pytest.fixture
def mine(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder: code, weights, data."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine.safetensors").write_bytes((run / "checkpoint.safetensors").read_bytes())
    test = data.load("digits", "test")
    np.savez(tmp_path / "digits.npz", images=test.images, labels=test.labels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("mine", "reader"):
        sys.modules.pop(name, None)


OWN = ("--model", "mine:network", "--weights", "mine.safetensors", "--data", "digits.npz", "--sigma", 0.25)
FEW = ("--samples", 300, "--every", 10, "--seed", 1)


def test_a_model_of_ones_own_is_certified_like_the_trained_one(run: Path, mine: Path) -> None:
    invoke("certify", "run", *OWN, *FEW)
    ours, theirs = Record.open(run).read(), Record.open(mine / "run").read()
    np.testing.assert_array_equal(theirs.votes, ours.votes)
    settings = Record.open(mine / "run").settings
    assert settings.model["name"] == "mine:network"
    assert settings.data["name"] == "digits.npz"
    invoke("report", "run", "--out", "report.html")

    (mine / "mine.py").write_text(MINE + "# changed\n")
    refused = one_line(invoke("certify", "run", *OWN, *FEW, code=2).stderr)
    assert "model source" in refused, "says what changed"
    np.savez(mine / "digits.npz", images=data.load("digits", "test").images, labels=np.zeros(599, dtype=int))
    (mine / "mine.py").write_text(MINE)
    assert "data digest" in one_line(invoke("certify", "run", *OWN, *FEW, "--classes", 10, code=2).stderr)


def test_a_whole_record_is_not_shown_as_another_models(mine: Path) -> None:
    """What a factory reads by itself has no digest, and nothing is left to count."""
    (mine / "reader.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    weights = np.load('weights.npy')\n"
        "    return lambda x: x.reshape(len(x), -1) @ weights\n"
    )
    np.save("weights.npy", np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32))
    arguments = ("certify", "run", "--model", "reader:make", "--data", "digits", "--sigma", 0.25, *FEW, "--json")
    first = json.loads(invoke(*arguments).stdout)
    again = invoke(*arguments)
    assert "All 60 images were done before." in again.stderr
    assert json.loads(again.stdout) == first
    np.save("weights.npy", np.random.default_rng(1).normal(size=(64, 10)).astype(np.float32))
    refused = one_line(invoke(*arguments, code=2).stderr)
    assert "the classifier must be the one that the record was begun with" in refused
    assert "choose another folder for its votes: --out." in refused


def test_of_a_file_only_all_of_its_images_speak(run: Path, tmp_path: Path) -> None:
    """The first images of a folder are those of its first class, and every n-th may be so too."""
    spread = json.loads(invoke("recertify", run, "--radii", "0,0.1", "--json").stdout)
    assert spread["population_lower_bound"] is None
    first = ("certify", run, "--samples", 300, "--limit", 50, "--out", tmp_path / "first", "--json")
    assert json.loads(invoke(*first).stdout)["population_lower_bound"] is None
    invoke("report", tmp_path / "first", "--out", tmp_path / "first.html")
    page = (tmp_path / "first.html").read_text()
    assert "Of other images of its file nothing is said" in page
    assert "on all images of the file" not in page
    record = Record.open(run)
    whole = dataclasses.replace(record, about={"data_images": 60})
    assert images_of_file(record, 60) is None
    assert images_of_file(whole, 60) == 60
    assert images_of_file(whole, 59) is None, "not all of them yet"
    for others in (59, 61, 120):
        of_another = dataclasses.replace(record, about={"data_images": others})
        assert images_of_file(of_another, 60) is None, "a part of the file, or more than it has"
    assert images_of_file(dataclasses.replace(record, about={}), 60) is None, "of an earlier version"


def test_radii_are_shown_in_full_and_the_released_intervals_are_no_choice(run: Path) -> None:
    options = ("--bound", "bonferroni", "--alpha", 0.05, "--radii", "0,0.1411764705882353")
    shown = invoke("recertify", run, *options, "--json")
    found = json.loads(shown.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found["procedure"] == "bonferroni, neyman-pearson, alpha 0.05"
    assert found["confidence"] == 0.95
    assert list(found["certified_accuracy"]) == ["0", "0.1411764705882353"], "0.141176 is another radius"
    refused = invoke("recertify", run, "--bound", "sison-glaz", code=2)
    assert "sison-glaz" in one_line(refused.stderr)


def test_a_model_that_wants_pixels_on_another_scale_is_refused(mine: Path) -> None:
    arguments = ("--model", "mine:of_8_bits", "--data", "digits", "--sigma", 0.25)
    refused = one_line(invoke("certify", "run", *arguments, *FEW, code=2).stderr)
    assert "pixels in [0, 1], which is where noise is added" in refused
    assert "with pixels from 0 to 255" in refused
    assert not list(mine.glob("run/votes/*.parquet"))


def test_memory_that_does_not_suffice_halves_the_batch(run: Path, mine: Path) -> None:
    arguments = ("--model", "mine:hungry", "--data", "digits", "--sigma", 0.25)
    shown = invoke("certify", "run", *arguments, *FEW)
    assert "Memory ran out: trying 512 images a batch" in one_line(shown.stderr)
    np.testing.assert_array_equal(Record.open(mine / "run").read().votes, Record.open(run).read().votes)
    named = invoke("certify", "other", *arguments, *FEW, "--batch-size", 256, "--precision", "fp32")
    assert "Memory ran out: went on with 64 images a batch instead of 256" in one_line(named.stderr)
    assert Record.open(mine / "other").shard_about(0)["batch_size"] == 64


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_a_float32_network_votes_the_same_in_any_batch(run: Path, batch_size: int, tmp_path: Path) -> None:
    invoke("certify", run, *FEW, "--out", tmp_path, "--precision", "fp32", "--batch-size", batch_size)
    np.testing.assert_array_equal(Record.open(tmp_path).read().votes, Record.open(run).read().votes)


def test_a_few_images_do_not_speak_for_another_scale(run: Path, mine: Path) -> None:
    for number in range(3):
        arguments = ("--samples", 50, "--limit", number + 1, "--out", mine / str(number))
        invoke("certify", run, *arguments)


def test_an_empty_part_is_no_error(run: Path, tmp_path: Path) -> None:
    arguments = ("--samples", 50, "--limit", 5, "--precision", "fp32", "--out", tmp_path)
    shown = one_line(invoke("certify", run, *arguments, "--shard", "3/3").stderr)
    assert "Fewer shards than parts: 1 shards" in shown
    assert "Nothing is counted yet" in shown


def test_a_model_at_chance_gets_a_word(mine: Path) -> None:
    shown = invoke("certify", "run", "--model", "mine:ink", "--data", "digits", "--sigma", 0.25, *FEW)
    assert "Is this the right classifier?" in one_line(shown.stderr)
    assert (mine / "run" / "record.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "mine:network", "--sigma", "0.25"], "--data must be given with --model"),
        (["--model", "mine:network", "--data", "digits"], "--sigma must be given with --model"),
        (
            ["--model", "mine:ink", "--data", "digits", "--sigma", "1", "--precision", "bf16"],
            "left out for what is no torch",
        ),
        (["--weights", "mine.safetensors"], "holds its own; got mine.safetensors"),
        (["--noise", "laplace"], "--noise must be given with --model"),
        (["--model", "mine:ink", "--data", "digits", "--sigma", "1", "--device", "cuda"], "cuda"),
        (["--shard", "0/4"], "--shard must be I/N with I from 1 to N; got '0/4'"),
        (["--shard", "1"], "Example: --shard 3/16"),
        (["--precision", "fp16"], "CPUs have no fast fp16"),
        (["--data", "missing.npz"], "missing.npz must be a file"),
    ],
)
def test_bad_models_and_engines(run: Path, mine: Path, arguments: list[str], said: str) -> None:
    folder = "run" if "--model" in arguments else run
    failed = invoke("certify", folder, "--out", mine / "out", *arguments, code=2)
    assert said in one_line(failed.stderr)
    assert not (mine / "out").exists()


def test_parts_counted_apart_are_the_whole(run: Path, tmp_path: Path) -> None:
    arguments = ("certify", run, "--samples", 2000, "--every", 2, "--seed", 1, "--precision", "fp32")
    invoke(*arguments, "--out", tmp_path / "whole")
    first = invoke(*arguments, "--out", tmp_path / "parts", "--shard", "1/2")
    whole = Record.open(tmp_path / "whole")
    assert len(whole.shards) >= 2
    assert "Incomplete" in first.stdout + first.stderr
    invoke(*arguments, "--out", tmp_path / "parts", "--shard", "2/2")
    np.testing.assert_array_equal(Record.open(tmp_path / "parts").read().votes, whole.read().votes)
    open_choice = one_line(
        invoke("certify", run, "--out", tmp_path / "new", "--shard", "1/2", "--samples", 2000, code=2).stderr
    )
    assert "--precision must be named with --shard" in open_choice


def test_a_run_goes_on_in_the_precision_it_began_with(run: Path, tmp_path: Path) -> None:
    arguments = ("certify", run, *FEW, "--out", tmp_path)
    invoke(*arguments, "--precision", "bf16")
    Record.open(tmp_path).shard_path(0).unlink()
    again = invoke(*arguments)
    assert "Running in bf16" in again.stderr
    engine = Record.open(tmp_path).settings.engine
    assert engine is not None
    assert engine["precision"] == "bf16"
    refused = one_line(invoke(*arguments, "--precision", "fp32", code=2).stderr)
    assert "engine precision fp32" in refused
    assert "got engine precision bf16" in refused


def test_inspect_tells_what_a_run_is(run: Path, tmp_path: Path) -> None:
    shown = one_line(invoke("inspect", run).stdout)
    assert not set("{}[]'") & set(shown), "settings in words, no Python"
    assert "name Stability, weight" in shown
    assert "made for alpha 0.001, bound two-phase (selection_samples 100), certificate neyman-pearson" in shown
    assert "images 0 to 599, every 10, of 1 x 8 x 8" in shown
    assert "noise (name gaussian, sigma 0.25)" in shown
    for word in ("digits-cnn", "sigma 0.25", "seed 1", "precision fp32", "philox4x64", "60 of 60 images", "torch 2."):
        assert word in shown
    found = json.loads(invoke("inspect", run, "--json").stdout)
    assert found["counted"]["votes"] == 60 * 400
    assert found["settings"]["engine"]["compile"] is False

    folder = tmp_path / "damaged"
    invoke("certify", run, "--samples", 2000, "--every", 2, "--out", folder, "--seed", 1)
    shard = Record.open(folder).shard_path(1)
    shard.write_bytes(shard.read_bytes()[:100])
    damaged = invoke("inspect", folder, code=1)
    assert "1 damaged" in damaged.stdout
    assert "00001.parquet must be a whole shard" in one_line(damaged.stderr)
    again = invoke("certify", run, "--samples", 2000, "--every", 2, "--out", folder, "--seed", 1)
    assert "Made anew" in again.stderr
    invoke("inspect", folder)


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


@pytest.mark.parametrize("command", ["recertify", "report", "audit", "inspect"])
def test_a_damaged_shard_ends_each_reader_with_1(command: str, run: Path, tmp_path: Path) -> None:
    """Exit code 1 of the guide: the record is wrong, and not what was typed."""
    shutil.copytree(run, tmp_path / "run")
    damage(Record.open(tmp_path / "run").shard_path(0))
    out = ["--out", tmp_path / "page.html"] if command == "report" else []
    assert "00000.parquet must be a whole shard" in invoke(command, tmp_path / "run", *out, code=1).stderr


@pytest.mark.parametrize("file", ["record.json", "votes/answers-*.json"])
def test_a_damaged_configuration_or_fingerprint_ends_with_1(file: str, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    damage(next((tmp_path / "run").glob(file)))
    assert "damaged" in invoke("certify", tmp_path / "run", code=1).stderr


def test_damaged_points_of_an_attack_end_with_1(run: Path, tmp_path: Path) -> None:
    few = ["--limit", 3, "--epsilons", 0.2, "--set", "steps=1", "--samples", 20]
    invoke("attack", run, "--out", tmp_path / "attack", *few)
    damage(next((tmp_path / "attack").rglob("*.safetensors")))
    judged = ["rejudge", tmp_path / "attack", "--model", run / "checkpoint.safetensors"]
    assert "must be the points that the attack found" in invoke(*judged, code=1).stderr


def test_profile_says_where_the_time_went(run: Path, tmp_path: Path) -> None:
    shown = one_line(invoke("certify", run, *FEW, "--out", tmp_path, "--profile").stderr)
    assert "Where the time went: reading" in shown
    for stage in ("noise", "network", "counting", "writing", "rest"):
        assert f"{stage} " in shown
    assert "votes/s" in shown
    assert "certified at 0.25 in" in shown


@pytest.mark.slow
def test_measure_prints_speed_beside_accuracy(run: Path, tmp_path: Path) -> None:
    # in a process of its own: the compiler does not read functions whose shapes tests check
    found = json.loads(process("measure", run, "--json", "--batch-size", 64).stdout)
    names, native = [row["name"] for row in found["rows"]], multiplies_bfloat16(torch.device("cpu"))
    assert names[: 2 if native else 1] == ["fp32", "bf16"][: 2 if native else 1]
    assert ("bf16" in names) == native
    assert all(row["images_per_second"] > 0 and row["noisy_accuracy"] > 0.5 for row in found["rows"])
    if "int8" in names:
        shown = invoke("certify", run, *FEW, "--out", tmp_path, "--precision", "int8", "--batch-size", 64)
        assert "labels as float32" in shown.stderr
        engine = Record.open(tmp_path).settings.engine
        assert engine is not None
        assert len(engine["quantisation"]) == 64


@pytest.mark.slow
def test_two_processes_on_one_folder_share_the_work(run: Path, tmp_path: Path) -> None:
    arguments = ["certify", str(run), "--samples", "2000", "--out", str(tmp_path), "--precision", "fp32"]
    both = [subprocess.Popen([*PROGRAM, *arguments], env=QUIET, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    messages = [each.communicate(timeout=300)[1] for each in both]
    assert sorted({0, *(each.returncode for each in both)}) in ([0], [0, 3]), (
        messages
    )  # the first to end may leave a shard
    assert Record.open(tmp_path).missing() == ([], [])
    invoke(*arguments[:-4], "--precision", "fp32", "--out", tmp_path / "alone")
    np.testing.assert_array_equal(Record.open(tmp_path).read().votes, Record.open(tmp_path / "alone").read().votes)


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [name for name in cli.app if not name.startswith("-")])
def test_help_explains_itself(command: str, flag: str) -> None:
    """Every option of every command has a help text of its own, and what the command does stands above them."""
    page = invoke(command, flag).stdout
    assert page.startswith(f"Usage: noiseproof {command}")
    assert "--json" in page
    top = invoke(flag).stdout
    assert re.search(rf"│ {command} +[A-Z]", top)
    for argument in cli.app[command].assemble_argument_collection(parse_docstring=True):
        if argument.parse and argument.show:
            assert argument.parameter.help, argument.names


COMMANDS = [name for name in cli.app if not name.startswith("-")]


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_wraps_at_words(command: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither words nor choices are broken: every page is made of the words of a page of any width."""
    words = {}
    for columns in (width, 1000):
        monkeypatch.setenv("COLUMNS", str(columns))
        page = invoke(command, "--help").stdout
        assert columns > width or max(map(len, page.splitlines())) <= width
        words[columns] = set(re.sub("[│╭╮╰╯─]", " ", page).split())
    assert words[width] == words[1000]


def test_the_help_of_an_audit_says_which_images_it_takes() -> None:
    page = one_line(invoke("audit", "--help").stdout)
    assert "Of the run's images, --every N takes those whose index in the data set is a multiple of N" in page
    assert "--every N Take images 0, N, 2N and so on, to save time: no random sample." in re.sub("[│ ]+", " ", page)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_quiet_or_verbose(command: str) -> None:
    page = one_line(invoke(command, "--help").stdout)
    assert "--quiet Print results and errors only." in page
    assert "--verbose " in page


def test_quiet_prints_results_and_errors_alone(run: Path, tmp_path: Path) -> None:
    arguments = ["certify", run, "--out", tmp_path / "out", "--limit", 2, "--samples", 50, "--json"]
    assert "Running in" in invoke(*arguments).stderr
    again = invoke(*arguments, "--quiet")
    assert again.stderr == ""
    assert json.loads(again.stdout)["counted"] == 2
    for quiet, lines in (("--quiet", 1), ("--verbose", 5)):
        refused = invoke("inspect", tmp_path / "no", quiet, code=2).stderr
        assert "Error: " in refused.splitlines()[-1]
        assert min(len(refused.splitlines()), 5) == lines
        assert ("Traceback" in refused) == (quiet == "--verbose")
    assert "--quiet must be left out with --verbose" in invoke("inspect", run, "--quiet", "--verbose", code=2).stderr


@pytest.mark.parametrize(
    "typed", [["certfy"], ["certfy", "--help"], ["--quiet", "certfy", "-h"], ["certfy", "somewhere"]]
)
def test_an_unknown_command_is_refused_with_its_nearest(typed: list[str]) -> None:
    ended = invoke(*typed, code=2)
    assert ended.stdout == "", "no help of all commands in its place"
    assert ended.stderr.startswith('Error: Unknown command "certfy". Did you mean "certify"? Available commands: demo,')
    assert ended.stderr.endswith(" See: noiseproof --help\n")


def test_the_version_is_the_packages() -> None:
    assert invoke("--version").stdout == f"noiseproof {version('noiseproof')}\n"


def test_without_a_command_it_shows_its_help() -> None:
    assert invoke().stdout == invoke("--help").stdout


@pytest.mark.parametrize(
    ("command", "old", "new"), [(command, old, new) for command, names in RENAMED.items() for old, new in names.items()]
)
def test_old_names_of_options_name_the_new_ones(command: str, old: str, new: str) -> None:
    for typed in ((old, "1"), (f"{old}=1",)):
        said = invoke(command, "somewhere", *typed, code=2).stderr
        assert said == f"Error: {old} must be written {new}; got its old name. See: noiseproof {command} --help\n"
    assert new in invoke(command, "--help").stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["certify"], "RUN"),
        (["certify", "somewhere", "else"], "else"),
        (["certify", "somewhere", "--sead", "3"], "--seed"),
        (["certify", "somewhere", "--seed"], "--seed"),
        (["certify", "somewhere", "--samples", "many"], "--samples"),
        (["certify", "somewhere", "--bound", "tight"], "two-phase"),
        (["certfy", "somewhere"], "certify"),
        (["train"], "--out"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_parsed_is_said_in_one_line(typed: list[str], said: str) -> None:
    refused = invoke(*typed, code=2).stderr
    assert refused.startswith("Error: ")
    assert refused.count("\n") == 1
    assert said in refused
    assert " See: noiseproof" in refused or " Example: --" in refused
