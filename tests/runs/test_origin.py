"""A run knows how it was made: what its commands find again by its record, and what they refuse."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from command_line import figures as noiseproof
from command_line import invoke, one_line
from noiseproof import data
from noiseproof.errors import InvalidInputError, NoiseproofError, RunError
from noiseproof.noises import Gaussian, Laplace
from noiseproof.runs import AttackRecord, CountVotes, DataChoice, Record, Selection, SequentialRecord, Subject, execute

CODE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layer, self.channels = nn.Linear(64, 10), channels
    def forward(self, x):
        return self.layer(x.mean(1).flatten(1))

def network():
    return Net(1)

def labels():
    import numpy as np
    return lambda x: np.clip(x.mean(axis=(1, 2, 3)) * 20, 0, 9).astype(int)
"""
FEW = ("--samples", 100, "--every", 20)
FAST = ("--set", "eot_samples=2", "--set", "steps=2", "--samples", 50)
RANDOM = ("--attack", "random", "--set", "tries=2", "--samples", 50)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a user's code, weights, program and data; another working directory waits beside it."""
    folder, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for path in (folder, elsewhere):
        path.mkdir()
    (folder / "of_origin.py").write_text(CODE)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    torch.manual_seed(0)
    weights = {"layer.weight": torch.randn(10, 64) / 8, "layer.bias": torch.zeros(10)}
    safetensors.torch.save_file(weights, folder / "w.safetensors")
    network[1].load_state_dict({name.removeprefix("layer."): value for name, value in weights.items()})
    dynamic = ({0: torch.export.Dim("batch", min=2)},)
    program = torch.export.export(network.eval(), (torch.zeros(4, 1, 8, 8),), dynamic_shapes=dynamic)
    torch.export.save(program, folder / "net.pt2")
    digits = data.load("digits", "test")
    images = digits.read(range(100))
    np.savez(folder / "mine.npz", images=images, labels=digits.labels[:100])
    for number, image in enumerate(images):
        place = folder / "photos" / f"class{digits.labels[number]}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.repeat(np.rint(255 * image[0]).astype(np.uint8)[:, :, None], 3, 2)
        Image.fromarray(pixels).resize((12, 12)).save(place / f"{number}.png")
    before = list(sys.path)
    monkeypatch.chdir(folder)
    yield folder
    sys.path[:] = before
    sys.modules.pop("of_origin", None)


MADE = {
    "factory": ("--model", "of_origin:network", "--weights", "w.safetensors", "--data", "mine.npz", "--sigma", 0.2),
    "program": ("--model", "net.pt2", "--data", "mine.npz", "--sigma", 0.2),
    "function": ("--model", "of_origin:labels", "--data", "digits", "--noise", "laplace", "--sigma", 0.2),
    "folder": (
        *("--model", "of_origin:network", "--weights", "w.safetensors", "--data", "photos"),
        *("--image-size", 8, "--classes", 10, "--sigma", 0.2),
    ),
}


@pytest.mark.parametrize("kind", MADE)
def test_a_run_is_attacked_and_audited_without_naming_anything_again(
    kind: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From another working directory, and with the module not yet imported."""
    noiseproof("certify", "runs/mine", *MADE[kind], *FEW)
    monkeypatch.chdir(project.parent / "elsewhere")
    sys.modules.pop("of_origin", None)
    sys.path[:] = [path for path in sys.path if path not in {"", str(project)}]
    run, chosen = project / "runs" / "mine", FAST if kind in {"factory", "folder"} else RANDOM
    how = ("--norm", "l1", "--epsilons", 0.1) if kind == "function" else ("--epsilons", 0.1)
    said = invoke("attack", run, *chosen, "--every", 20, *how).stderr
    assert f"From {run}: model " in said
    assert "10 classes" in said
    found = AttackRecord.open(
        run / "attacks" / f"{'random' if chosen is RANDOM else 'pgd'}-{how[1] if kind == 'function' else 'l2'}"
    )
    certified = Record.open(run)
    assert (found.settings.model, found.settings.data) == (certified.settings.model, certified.settings.data)
    assert found.settings.noise == certified.settings.noise
    noiseproof("audit", run, *chosen, "--alpha", 0.2)
    noiseproof("recertify", run)
    noiseproof("rejudge", found.path, "--samples", 100)
    assert noiseproof("certify", run, *FEW)["images"] == len(certified.settings.indices)
    assert Subject.of_run(run).noise == (Laplace(0.2) if kind == "function" else Gaussian(0.2))


def test_a_record_tells_no_more_of_the_machine_than_its_command(project: Path) -> None:
    noiseproof("certify", "runs/mine", *MADE["folder"], *FEW)
    content = (project / "runs/mine/record.json").read_text()
    assert json.loads(content)["about"]["subject"] == {
        "model": "of_origin:network",
        "code": "../..",
        "weights": "../../w.safetensors",
        "data": {"name": "../../photos", "classes": 10, "image_size": 8},
    }
    assert str(project) not in content


def test_a_project_that_is_moved_as_a_whole_still_works(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noiseproof("certify", "runs/mine", "--model", "net.pt2", "--data", "mine.npz", "--sigma", 0.2, *FEW)
    monkeypatch.chdir(project.parent)
    moved = project.rename(project.with_name("moved"))
    with pytest.raises(RunError, match="named on this account before"):  # the program lies in another place
        Subject.of_run(moved / "runs/mine")
    found = Subject.of_run(moved / "runs/mine", str(moved / "net.pt2"))
    assert len(found.dataset) == 100
    assert len(Subject.of_run(moved / "runs/mine").dataset) == 100, "from then on"


def test_what_was_moved_is_named_and_what_has_changed_is_refused(project: Path) -> None:
    noiseproof("certify", "runs/mine", *MADE["factory"], *FEW)
    run = Path("runs/mine")
    Path("w.safetensors").rename("moved.safetensors")
    with pytest.raises(
        RunError, match=r"w\.safetensors must be there: runs/mine was made.*where it lies now: weights="
    ):
        Subject.of_run(run)
    assert Subject.of_run(run, weights=Path("moved.safetensors")).noise == Gaussian(0.2)
    other = {"layer.weight": torch.ones(10, 64), "layer.bias": torch.zeros(10)}
    safetensors.torch.save_file(other, "w.safetensors")
    with pytest.raises(RunError, match=r"runs/mine must be a record with model digest .* has changed since"):
        Subject.of_run(run)
    Path("moved.safetensors").replace("w.safetensors")
    Path("mine.npz").rename("moved.npz")
    with pytest.raises(RunError, match=r"mine\.npz must be there: runs/mine was made with it.* data="):
        Subject.of_run(run)
    assert Subject.of_run(run, data="moved.npz").dataset.name == "moved.npz"
    with pytest.raises(RunError, match=r"data name mine\.npz"):
        noiseproof("audit", run, *FAST, "--data", "moved.npz")
    Path("moved.npz").rename("mine.npz")
    Path("of_origin.py").write_text(CODE + "raise SystemExit('it was run')\n")
    sys.modules.pop("of_origin")
    with pytest.raises(RunError, match=r"of_origin\.py must be what it was when runs/mine was made"):
        Subject.of_run(run)


def test_a_record_alone_runs_no_code(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noiseproof("certify", "runs/mine", *MADE["factory"], *FEW)
    sys.modules.pop("of_origin")
    monkeypatch.setattr("noiseproof.storage.trusted.cache", lambda: tmp_path / "of another account")
    with pytest.raises(
        RunError, match=r"a record alone runs none; got of_origin:network\. If you trust of_origin\.py, name it"
    ):
        Subject.of_run(Path("runs/mine"))
    assert "of_origin" not in sys.modules
    Subject.of_run(Path("runs/mine"), "of_origin:network", weights=Path("w.safetensors"))
    assert Subject.of_run(Path("runs/mine")).model["name"] == "of_origin:network"


def test_a_classifier_made_in_python_says_how_to_go_on(tmp_path: Path) -> None:
    ink = Subject.of(
        lambda x: x.mean(axis=(1, 2, 3)).astype(int), Gaussian(0.3), data.load("digits", "test"), name="ink"
    )
    execute(CountVotes(samples=50, selection=Selection(every=200)), tmp_path / "run", ink)
    with pytest.raises(RunError, match=r"got ink, and no word on where.*model=.*Subject\.of\(.*name='ink'\)"):
        Subject.of_run(tmp_path / "run")
    named = Subject.of_run(tmp_path / "run", "half_space:ink")
    assert (named.noise, named.dataset.name) == (Gaussian(0.3), "digits"), "what was not named is of the record"


def test_earlier_records_are_read_as_before(project: Path) -> None:
    noiseproof("certify", "runs/mine", *MADE["factory"], *FEW)
    path = Path("runs/mine/record.json")
    content = json.loads(path.read_text())
    del content["about"]["subject"]
    path.write_text(json.dumps(content))
    assert len(Record.open(path.parent).read()) == 5
    with pytest.raises(RunError, match=r"Name it: model=, and weights="):
        Subject.of_run(path.parent)
    named = ("--model", "of_origin:network", "--weights", "w.safetensors", "--data", "mine.npz")
    assert "passed" in noiseproof("audit", path.parent, *FAST, *named, code=0)
    content["about"]["subject"] = {"model": 3, "weights": [], "data": {"name": 4, "classes": "ten"}}
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=r"Name it: model=, and weights="):
        Subject.of_run(path.parent)


def test_sequential_certifications_below_a_run_speak_for_it(project: Path) -> None:
    common = ("certify", "runs/mine", *MADE["factory"][:-2], "--every", 50, "--samples", 2000)
    noiseproof(*common, "--sigma", 0.2, "--radius", 0.05)
    assert (project / "runs/mine/radius-0.05" / SequentialRecord.configuration).exists()
    assert Subject.of_run(Path("runs/mine")).noise == Gaussian(0.2)
    noiseproof(*common, "--sigma", 0.3, "--radius", 0.1)
    with pytest.raises(InvalidInputError, match=r"radius-0\.05, radius-0\.1\. Name one of them"):
        Subject.of_run(Path("runs/mine"))
    assert Subject.of_run(Path("runs/mine/radius-0.1")).noise == Gaussian(0.3)


def test_a_trained_network_is_attacked_under_the_noise_that_it_was_certified_under(
    certified: Path, tmp_path: Path
) -> None:
    noiseproof("certify", tmp_path / "run", "--model", certified / "checkpoint.safetensors", "--sigma", 0.4, *FEW)
    assert Subject.of_run(tmp_path / "run").noise == Gaussian(0.4)
    assert Subject.of_run(certified).taken.startswith(f"{certified}: model ")
    assert Subject.of_run(certified, sigma=0.0).noise is None


def test_errors_print_no_dictionaries(project: Path) -> None:
    noiseproof("certify", "runs/mine", *MADE["factory"], *FEW)
    said = invoke("attack", "runs/mine", *FAST, "--epsilons", 0.1, "--every", 20).stderr
    assert "{" not in said
    again = one_line(
        invoke("attack", "runs/mine", *FAST, "--epsilons", 0.1, "--every", 20, "--sigma", 0, code=2).stderr
    )
    assert "sigma 0.2" in again
    assert "{" not in again


@pytest.mark.parametrize(
    ("choice", "option"),
    [
        (DataChoice("digits", image_size=8), "image_size"),
        (DataChoice("mine.npz", image_size=8), "image_size"),
        (DataChoice("mine.npz", data_dir=Path()), "data_dir"),
        (DataChoice("photos", data_dir=Path()), "data_dir"),
        (DataChoice("digits", data_dir=Path()), "data_dir"),
        (DataChoice("photos", allow_unverified=True), "allow_unverified"),
        (DataChoice("digits", allow_unverified=True), "allow_unverified"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("project")
def test_what_data_do_not_have_is_refused_by_name(choice: DataChoice, option: str) -> None:
    with pytest.raises(InvalidInputError, match=f'{option} must be left out with data="{choice.name}"'):
        choice.load()


def test_options_that_a_network_does_not_have_are_refused(project: Path, certified: Path) -> None:
    noiseproof("certify", "runs/mine", *MADE["program"], *FEW)
    for run in ("runs/mine", certified):
        with pytest.raises(NoiseproofError, match=r"weights must be left out: .* holds its own"):
            Subject.of_run(Path(run), weights=Path("w.safetensors"))
        with pytest.raises(InvalidInputError, match="noise must be given with model="):
            Subject.of_run(Path(run), noise="laplace")
