"""What is said when a command cannot be run: of every option of every command, and that what messages name is there."""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch
from cyclopts import Argument

import noiseproof as npf
from command_line import PROGRAM, invoke
from noiseproof import cli
from noiseproof.cli.wording import RENAMED
from noiseproof.experiments import FIGURES

COMMANDS = [name for name in cli.app if not name.startswith("-")]
SOURCES = Path(npf.__file__).parent


def options(command: str) -> dict[str, Argument]:
    found = cli.app[command].assemble_argument_collection()
    return {name: each for each in found if each.parse for name in each.names if name.startswith("--")}


def kinds(argument: Argument) -> tuple[Any, ...]:
    """The types of an option's values: a union's are its members'."""
    return (
        (argument.hint,) if get_origin(argument.hint) in {Literal, tuple} else (argument.hint, *get_args(argument.hint))
    )


def wrong(argument: Argument) -> Iterator[tuple[str, str]]:
    """Wrong values of an option, and what is required."""
    of = kinds(argument)
    one_of_some = any(get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, Enum)) for kind in of)
    if argument.parameter.choices or one_of_some:
        yield "nonsense", "Choose from"
    elif bool in of:
        yield "perhaps", "without a value"
    elif int in of:
        yield from (("many", "a whole number"), ("1.5", "a whole number"), ("1e4", "a whole number"))
    elif float in of:
        yield "wide", "a number"
    elif any(kind in of for kind in (tuple[float, ...],)):
        yield from (("0.5,x", "numbers >= 0"), ("-1", "numbers >= 0"), ("nan", "numbers >= 0"))
    elif any(kind in of for kind in (tuple[int, int],)):
        yield from (("0/4", "I/N"), ("5/4", "I/N"), ("1", "I/N"))


WRONG = [
    (command, name, value, required)
    for command in COMMANDS
    for name, argument in options(command).items()
    for value, required in wrong(argument)
    if not name.startswith(("--no-", "--empty-"))
]

NEEDED = {
    "train": ["--out=out"],
    "ensemble": ["--out=out"],
    "ladder": ["--epsilon=1"],
    "radius": ["--p1=0.9"],
    "verify": ["--stage=stage", "--radius=1", "--data=digits"],
}
"""Options without which a command is not read any further."""


def refused(*arguments: object) -> str:
    """What is said of a command that ends with 2: one line."""
    message = invoke(*arguments, code=2).stderr
    assert message.startswith("Error: ")
    assert message.count("\n") == 1
    assert "Value error" not in message
    assert "{'" not in message
    assert "['" not in message
    return message


@pytest.mark.parametrize(("command", "option", "value", "required"), WRONG)
def test_a_wrong_value_is_refused_by_name(command: str, option: str, value: str, required: str) -> None:
    needed = [each for each in NEEDED.get(command, ()) if not each.startswith(f"{option}=")]
    message = refused(command, "somewhere", *needed, f"{option}={value}")
    assert option in message
    assert required in message
    assert value in message
    assert f"See: noiseproof {command} --help" in message or f"Example: {option} " in message


def test_the_table_has_every_command_and_kind() -> None:
    assert {command for command, *_ in WRONG} == set(COMMANDS)
    assert len(WRONG) > 150


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, name) for command in COMMANDS for name, found in options(command).items() if bool not in kinds(found)],
)
def test_an_option_without_its_value_is_refused_by_name(command: str, option: str) -> None:
    if not option.startswith("--empty-"):
        assert refused(command, option).startswith(f"Error: {option} must be followed by a value; got nothing. See: ")


@pytest.mark.parametrize(
    ("command", "option"), [("certify", "--radius"), ("attack", "--epsilons"), ("report", "--radii")]
)
def test_a_list_that_is_given_twice_is_refused_so(command: str, option: str) -> None:
    message = refused(command, "somewhere", option, "0.5", option, "1")
    assert message == f"Error: {option} must be given once; got 0.5 and 1. Example: {option} 0.5,1,1.5\n"
    assert "got also 1." in refused(command, "somewhere", option, "0.5", "1") or command == "report"


DOMAINS: dict[str, dict[str, list[object]]] = {
    "certify": {
        "--samples": [0],
        "--every": [0],
        "--limit": [0],
        "--alpha": [1.5],
        "--sigma": [-1],
        "--scale": [-1],
        "--rtol": [2],
        "--beta": [0],
        "--selection-samples": [-1],
        "--seed": [-1],
        "--batch-size": [0],
        "--device": ["abacus"],
        "--weights": ["w.pt"],
        "--noise": ["laplace"],
    },
    "train": {
        "--epochs": [0],
        "--batch-size": [0],
        "--learning-rate": [0, "inf"],
        "--sigma": [0],
        "--scale": [0],
        "--warmup-epochs": [-1, 100],
        "--ramp-epochs": [-1, 100],
        "--average": [0, 1],
        "--clip": [0],
        "--momentum": [1, 0.5],
        "--weight-decay": [-1],
        "--seed": [-1],
        "--device": ["abacus"],
        "--data-dir": ["nowhere"],
    },
    "demo": {"--samples": [0, 3], "--epochs": [0], "--every": [0], "--seed": [-1], "--device": ["abacus"]},
    "ensemble": {"--early-exit": [-1, 0], "--sigma": [-1], "--scale": [0]},
    "attack": {
        "--samples": [0],
        "--every": [0],
        "--limit": [0],
        "--alpha": [0],
        "--seed": [-1],
        "--batch-size": [0],
        "--sigma": [-1],
        "--scale": [-1],
    },
    "rejudge": {"--samples": [0], "--alpha": [2], "--seed": [-1, 0], "--device": ["abacus"]},
    "audit": {"--samples": [0], "--every": [0], "--limit": [0], "--alpha": [2], "--seed": [-1], "--device": ["abacus"]},
    "ladder": {
        "--samples": [0],
        "--limit": [0],
        "--epsilon": [0, -1, "inf"],
        "--seed": [-1],
        "--batch-size": [0],
        "--device": ["abacus"],
    },
    "measure": {"--seed": [-1], "--batch-size": [0], "--device": ["abacus"], "--sigma": [-1], "--scale": [-1]},
    "recertify": {"--alpha": [0]},
    "report": {"--alpha": [1]},
    "verify": {"--radius": [-1, "inf"], "--every": [0], "--limit": [0], "--device": ["abacus"]},
    "check": {"--sigma": [-1], "--samples": [0], "--alpha": [2]},
    "radius": {"--p1": [2], "--p2": [-1], "--scale": [0], "--sigma": [0]},
}
"""Values outside of an option's domain, which the library refuses: it names parameters, the command line options."""

for _command in ("certify", "train", "attack", "rejudge", "audit", "ladder", "measure", "verify"):
    DOMAINS[_command] |= {"--image-size": [8], "--classes": [10]}  # of digits, which have their own
for _command in ("certify", "attack", "audit", "verify"):
    DOMAINS[_command] |= {"--subset": [0], "--subset-seed": [-1]}

USUAL = {
    "train": "--out OUT",
    "demo": "--out OUT",
    "ensemble": "RUN PLAIN --out OUT",
    "rejudge": "ATTACK --out OUT",
    "ladder": "RUN --epsilon 1 --out OUT",
    "measure": "RUN",
    "check": "RUN",
    "recertify": "RUN",
    "verify": "OUT --stage STAGE --radius 0.1 --data digits",
    "radius": "--p1 0.9",
}
"""What a command needs besides; of the others a run and where the result goes."""


@pytest.fixture(scope="module")
def places(run: Path, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What commands read: a run, a network without noise, the record of an attack, a network that can be verified."""
    folder = tmp_path_factory.mktemp("read")
    few = ["--limit", 3, "--epsilons", 0.2, "--set", "steps=1", "--samples", 20]
    invoke("attack", run, "--out", folder / "attack", *few)
    network = npf.models.build("kw-mnist-small")
    torch.save(network.state_dict(), folder / "stage.pth")
    return {"RUN": run, "PLAIN": plain, "ATTACK": folder / "attack", "STAGE": folder / "stage.pth"}


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        (command, name, value)
        for command, found in DOMAINS.items()
        for name, values in found.items()
        for value in values
    ],
)
def test_what_the_library_refuses_is_named_as_it_was_typed(
    command: str, option: str, value: object, places: dict[str, Path], tmp_path: Path
) -> None:
    words = USUAL.get(command, "RUN --out OUT").split()
    if option in words:
        del words[words.index(option) : words.index(option) + 2]
    named = {name: str(path) for name, path in places.items()} | {"OUT": str(tmp_path / "out.html")}
    named["STAGE"] = f"kw-mnist-small={places['STAGE']}"
    message = invoke(command, *(named.get(word, word) for word in words), option, value, code=2).stderr.splitlines()[-1]
    assert re.match(rf"Error: {option}( {value})? must be ", message)
    assert f"got {value}" in message or f"got {value!r}" in message or "got no model" in message
    assert not list(tmp_path.iterdir()), "nothing is written before the input is known to be good"


def test_every_command_that_takes_numbers_has_a_table_of_domains() -> None:
    for command in COMMANDS:
        numbers = {
            name
            for name, argument in options(command).items()
            if {int, float} & set(kinds(argument)) and not argument.parameter.choices
        }
        assert numbers <= set(DOMAINS.get(command, ())), command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["train", "--out", "OUT", "--set", "weight=-1"],
            "Error: --set weight must be a finite number >= 0; got -1.0.",
        ),
        (
            ["train", "--out", "OUT", "--momentum", "0.5"],
            "Error: --momentum must be left out with --optimiser Adam, which does not use it; got 0.5. Leave it out, or ",
        ),
        (["measure"], "Error: RUN must be given without --model; got neither. Name one network to measure."),
        (["measure", "OUT", "--model", "zoo:x"], "Error: --model must be left out where RUN is given; got both."),
        (["train", "--out", "OUT", "--scale", "0"], "Error: --scale must be a finite number > 0"),
        (["train", "--out", "OUT", "--after", "no.safetensors"], "Error: --after no.safetensors must be a file;"),
        (["radius", "--p1", "2"], "Error: --p1 must be within [0, 1]; got 2.0."),
        (["certify", "OUT", "--model", "nothing"], "--sigma must be given with --model; got nothing."),
        (["certify", "OUT", "--weights", "w.pt"], "--weights must be given with --model; got no model."),
        (["verify", "OUT", "--stage", "no.safetensors", "--radius", "1", "--data", "digits"], "Error: --stage no.safe"),
        (
            ["train", "--out", "OUT", "--data", "digits", "--image-size", "9"],
            "left out with --data digits: it is for a folder of images; got 9",
        ),
    ],
)
def test_remedies_name_options(arguments: list[str], said: str, tmp_path: Path) -> None:
    assert said in refused(*(argument.replace("OUT", str(tmp_path / "out")) for argument in arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["attack", "RUN", "--source", "zoo:x"], "--source zoo:x must be a network of the zoo: "),
        (["ladder", "RUN", "--epsilon", 1, "--source", "zoo:x"], "--source zoo:x must be a network of the zoo: "),
        (["train", "--out", "OUT", "--start-from", "zoo:x"], "--start-from zoo:x must be a network of the zoo: "),
        (
            ["verify", "OUT", "--stage", "a=b", "--radius", 1, "--data", "digits"],
            "--stage a=b must be a checkpoint, or NAME=WEIGHTS with a NAME of digits-cnn, ",
        ),
        (
            ["certify", "RUN", "--out", "OUT", "--classes", 10],
            "--classes must be left out with --data digits: it is for",
        ),
        (
            ["train", "--out", "OUT", "--classes", 10],
            "--classes must be left out with --data digits: it is for images of",
        ),
        (["certify", "RUN", "--out", "OUT", "--image-size", 8], "--image-size must be left out with --data digits: it"),
        (["certify", "OUT"], "Train first: noiseproof train --out OUT. Or name a network that is there: "),
        (
            ["certify", "OUT", "--model", "digits-cnn", "--data", "digits", "--sigma", 1],
            "an architecture without weights: --model noiseproof.models:DigitsCNN, and --weights of a file.",
        ),
        (
            ["recertify", "RUN", "--certificate", "teng"],
            "--certificate must be one for Gaussian noise; got Teng, which holds for Laplace noise.",
        ),
    ],
)
def test_what_is_blamed_is_what_was_typed(arguments: list[object], said: str, run: Path, tmp_path: Path) -> None:
    places = {"RUN": str(run), "OUT": str(tmp_path / "out")}
    message = invoke(*(places.get(str(argument), argument) for argument in arguments), code=2).stderr.splitlines()[-1]
    assert said.replace("OUT", places["OUT"]) in message
    assert not list(tmp_path.iterdir())


def test_a_limit_is_told_where_one_was_named(run: Path, tmp_path: Path) -> None:
    for name, limit in {"all": [], "some": ["--limit", 5]}.items():
        folder = tmp_path / name
        invoke("certify", run, "--out", folder, "--samples", 50, "--every", 100, *limit)
        told = invoke("certify", run, "--out", folder).stderr
        assert "every 100, " in told
        assert (", limit 5, " in told) == bool(limit)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("", "must be a folder with a folder of images for each class; got none in it. Move the images of each class"),
        (
            "train/ant",
            "must be a folder with photos/val/ and the classes in it, to test; got train/ alone. Add val/, or ",
        ),
    ],
)
def test_a_folder_without_what_is_certified_says_what_is_missing(layout: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "photos" / layout).mkdir(parents=True)
    (tmp_path / "photos" / layout / "1.png").touch()
    own = ["--model", "half_space:grey_of_1000", "--data", tmp_path / "photos", "--sigma", 1]
    message = refused("certify", tmp_path / "out", *own)
    assert said in message
    assert layout or "train/" not in message


def test_in_python_the_same_messages_name_parameters() -> None:
    with pytest.raises(npf.InvalidInputError, match=r"^model must be zoo:NAME"):
        npf.models.load("nothing")
    with pytest.raises(npf.InvalidInputError, match=r"^sigma must be given with model="):
        npf.runs.Subject.load("nothing")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused_by_name(run: Path) -> None:
    message = invoke("certify", run, "--device", "cuda", code=2).stderr.splitlines()[-1]
    assert message.startswith("Error: --device must be auto or cpu: there is no CUDA device here; got 'cuda'. ")


def test_what_a_factory_fails_to_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("lacking.py").write_text("def network():\n    import no_such_package\n")
    message = refused("certify", "out", "--model", "lacking:network", "--data", "digits", "--sigma", "1")
    assert "No module named 'no_such_package'" in message
    assert "without arguments" not in message


ANSI = re.compile(r"\x1b\[|\x9b|\r")
"""How a terminal's codes begin, and what moves to the beginning of a line."""


COLOURFUL = {key: value for key, value in os.environ.items() if "COLOR" not in key and key != "TTY_COMPATIBLE"}
COLOURFUL |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_what_is_piped_has_no_codes_of_a_terminal(command: str) -> None:
    """Help and an error of every command, in a process whose output is a pipe, and whose environment asks for nothing."""
    for typed, code in (([command, "--help"], 0), ([command or "certfy", "--no-such-option"], 2)):
        program = [*PROGRAM, *filter(None, typed)]
        done = subprocess.run(program, check=False, capture_output=True, text=True, env=COLOURFUL, timeout=120)
        assert done.returncode == code
        assert (done.stdout if code == 0 else done.stderr).strip()
        assert not ANSI.search(done.stdout + done.stderr)


def test_a_result_that_is_piped_has_no_codes_of_a_terminal(run: Path, tmp_path: Path) -> None:
    """A certification with its progress, table and next step, and an attack with its picture."""
    typed = ["certify", str(run), "--samples", "60", "--limit", "30", "--verbose", "--out", str(tmp_path / "votes")]
    done = subprocess.run([*PROGRAM, *typed], check=True, capture_output=True, text=True, env=COLOURFUL, timeout=120)
    assert "natural accuracy" in done.stdout
    assert "Counted 30/30 images" in done.stderr
    assert not ANSI.search(done.stdout + done.stderr)


def texts() -> Iterator[tuple[Path, str]]:
    """Every text of the package's code, docstrings too; that of an f-string with a gap for each value."""
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
            elif isinstance(node, ast.JoinedStr):
                yield path, "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)


FOREIGN = {"--install-completion", "--shell", "--upgrade", "--nproc-per-node", "--train-multi-noise"}
"""Options of the parser and of other programs that the package's texts name: pip, torchrun, released code."""

CHOSEN = r"(--(?:attack|objective|bound|certificate|noise)) (?!or\b|say\b)([a-z][a-z0-9-]+)"
"""An option with one of its choices."""


def test_options_and_commands_that_texts_name_exist() -> None:
    known = {name for command in COMMANDS for name in options(command)} | {
        "--help",
        "--version",
        "--quiet",
        "--verbose",
    }
    known |= {old for names in RENAMED.values() for old in names} | FOREIGN
    for path, text in texts():
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]", text):
            assert option in known, (path, text)
        for command in re.findall(r"\bnoiseproof ([a-z]+) (?:--|[A-Z]|\0)", text):
            assert command in COMMANDS, (path, text)
        for option, value in re.findall(
            r"(--(?:attack|objective|bound|certificate|noise)) (?!or\b|say\b)([a-z][a-z0-9-]+)", text
        ):
            some = [options(each)[option].parameter.choices for each in COMMANDS if option in options(each)]
            assert any(value in (choices or ()) for choices in some), (path, text)
    assert set(FIGURES) == set(cli.app["reproduce"].assemble_argument_collection()[0].parameter.choices or ())


def test_messages_of_the_library_name_parameters() -> None:
    """They are read in Python too: the command line writes options for them."""
    own = {"cli", "experiments"}
    for path in sorted(SOURCES.rglob("*.py")):
        if path.relative_to(SOURCES).parts[0] in own:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and any(each.arg == "remedy" for each in node.keywords):
                message = ast.unparse(node)
                bare = re.sub(r"(pip install|noiseproof [a-z]+)[^'\"]*", "", message)
                assert not re.search(r"(?<![\w-])--[a-z]", bare), (path, message)
