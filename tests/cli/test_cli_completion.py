"""Completion in bash, zsh and fish: what is installed, where, and what it completes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cyclopts import Argument

from command_line import invoke
from noiseproof import cli

COMMANDS = [name for name in cli.app if not name.startswith("-")]
PLACES = {
    "bash": ".local/share/bash-completion/completions/noiseproof",
    "zsh": ".zsh/completions/_cyclopts_noiseproof",
    "fish": ".config/fish/completions/noiseproof.fish",
}
LOADED_FROM = {"bash": ".bashrc", "zsh": ".zshrc"}
"""Files of a shell that load the script; fish finds it by itself."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of somebody whose shell says nothing of itself."""
    for name in ("BASH_VERSION", "ZSH_VERSION", "FISH_VERSION", "ZSH", "ZSH_CUSTOM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    monkeypatch.setattr("cyclopts.completion.detect.os.getppid", lambda: 0)
    return tmp_path


def options(command: str) -> list[Argument]:
    found = [each for each in cli.app[command].assemble_argument_collection() if each.parse and each.show]
    return [each for each in found if each.name.startswith("--")]


def block(shell: str, script: str, command: str) -> str:
    """What a script says of one command."""
    if shell == "fish":
        return "\n".join(line for line in script.splitlines() if f"using_command {command}'" in line)
    found = re.search(rf"^        {command}\)$(.*?)^          ;;$", script, re.MULTILINE | re.DOTALL)
    assert found is not None, command
    return found[1]


@pytest.mark.parametrize("shell", PLACES)
@pytest.mark.parametrize("named", [True, False])
def test_the_script_goes_where_the_shell_looks(
    shell: str, named: bool, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it is named, or tells itself by the variable that it sets."""
    if not named:
        monkeypatch.setenv(f"{shell.upper()}_VERSION", "5")
    said = invoke("--install-completion", *(["--shell", shell] if named else []))
    assert f"Completion script installed to {home / PLACES[shell]}\n" in said.stdout
    files = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert files == {PLACES[shell]} | ({LOADED_FROM[shell]} if shell in LOADED_FROM else set())
    if shell in LOADED_FROM:
        loads = str((home / PLACES[shell]).parent if shell == "zsh" else home / PLACES[shell])
        assert loads in (home / LOADED_FROM[shell]).read_text()


def test_a_shell_that_is_not_recognised_is_refused_and_one_that_is_none(home: Path) -> None:
    refused = invoke("--install-completion", code=2).stderr
    assert refused == (
        "Error: --shell must be bash, zsh or fish; got a shell that is not recognised. "
        "Example: noiseproof --install-completion --shell zsh\n"
    )
    refused = invoke("--install-completion", "--shell", "tcsh", code=2).stderr
    assert 'Invalid value "tcsh" for --shell. Choose from: "bash", "zsh", "fish"' in refused
    assert not list(home.iterdir())


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_have_every_command_option_and_choice(shell: str, home: Path) -> None:
    invoke("--install-completion", "--shell", shell)
    script = (home / PLACES[shell]).read_text()
    if shell == "zsh":
        assert script.startswith("#compdef noiseproof\n")
    for command in COMMANDS:
        assert re.search(rf"'{command}:[A-Z]" if shell == "zsh" else rf"-a '{command}' -d '[A-Z]", script)
        part = block(shell, script, command)
        for argument in options(command):
            name = argument.name.removeprefix("--")
            assert re.search(rf"--{name}\[" if shell == "zsh" else rf"-l {name} ", part), (command, name)
            choices = argument.get_choices()
            assert not choices or " ".join(choices) in part, (command, name, choices)


BASH = """
source "$1"; shift
COMP_WORDS=(noiseproof "$@"); COMP_CWORD=$#; COMPREPLY=()
_noiseproof
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_commands_options_and_choices(home: Path) -> None:
    invoke("--install-completion", "--shell", "bash")

    def completed(*typed: str) -> set[str]:
        done = subprocess.run(
            ["bash", "-c", BASH, "bash", home / PLACES["bash"], *typed], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return set(done.stdout.split())

    assert completed("") == set(COMMANDS)
    assert completed("re") == {"recertify", "rejudge", "report", "reproduce"}
    assert completed("--qu") == {"--quiet"}
    for command in COMMANDS:
        shown = completed(command, "--")
        for argument in options(command):
            assert argument.name in shown, (command, argument.name)
            choices = argument.get_choices()
            if choices:
                assert completed(command, argument.name, "") == set(choices), (command, argument.name)


def test_the_program_answers_what_a_script_asks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts may call the program back, by a reserved word, with the words typed so far in a variable."""
    monkeypatch.setenv("CYCLOPTS_COMPLETION_WORDS", "certify\x1f--bound\x1ft\x1f")
    assert "two-phase" in invoke("__complete").stdout
    monkeypatch.setenv("CYCLOPTS_COMPLETION_WORDS", "rec\x1f")
    assert "recertify\tCompute bounds and radii again" in invoke("__complete").stdout
