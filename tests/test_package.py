"""The shape of the house: what is visible, what importing costs, who may import whom."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import noiseproof
from noiseproof.storage.provenance import provenance

SOURCE = Path(noiseproof.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(SOURCE)], "noiseproof."))

# The house, from the ground up: a room imports only itself and what stands before it.
ROOMS = [
    "errors",
    "randomness",
    "numerics",
    "storage",
    "plugins",
    "perturbations",
    "data",
    "noises",
    "bounds",
    "classifiers",
    "certificates",
    "models",
    "certified",
    "sequential",
    "verification",
    "evaluation",
    "sampling",
    "objectives",
    "smoothing",
    "attacks",
    "training",
    "runs",
    "published",
    "reports",
    "experiments",
    "cli",
]
RANK = {room: rank for rank, room in enumerate(ROOMS)}
PLUG_INS = {"noises", "bounds", "certificates", "objectives", "attacks", "models", "data"}
SHARED = {
    "base",
    "lemma1",
    "inner",
    "batch",
    "defence",
    "escalation",
    "normalise",
    "sources",
    "layers",
    "copies",
    "expectation",
    "foolbox_bridge",
    "incumbents",
    "loaded",
    "nearest",
    "registry",
    "votes",
}  # what a folder's plug-ins have in common
ASSEMBLY = {
    "__init__",
    "registry",
    "by_name",
    "checkpoint",
    "external",
    "zoo",
}  # these put the siblings of a folder together


def imports(path: Path) -> set[str]:
    """Every noiseproof module a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "noiseproof":
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "noiseproof"
                else [node.module]
            )
            found |= set(names)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "noiseproof"}
    return found


def room(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_dependency_arrows(path: Path) -> None:
    inside = path.relative_to(SOURCE).with_suffix("").parts
    if inside in {("__init__",), ("__main__",)}:
        return
    own = inside[0]
    assert own in RANK, f"{own} has no place in the house: add it to ROOMS"
    for module in imports(path):
        other = room(module)
        if other == own:
            sibling = module.split(".")[2] if module.count(".") > 1 else "__init__"
            if own in PLUG_INS and inside[-1] not in ASSEMBLY:
                assert sibling in SHARED, f"{path.name} imports its sibling {module}"
            continue
        assert RANK[other] <= RANK[own], f"{path.name} imports {module}, which stands above it"
        if own == "reports":
            assert other not in {"models", "data"}, "every picture is rebuilt from records"


@pytest.mark.parametrize("name", ["noiseproof", *MODULES])
def test_all_is_exact(name: str) -> None:
    module = importlib.import_module(name)
    exported = module.__all__
    assert len(set(exported)) == len(exported)
    for item in exported:
        assert getattr(module, item) is not None, f"{name}.__all__ names {item}, which is not there"
    tree = ast.parse(Path(str(module.__file__)).read_text())
    public = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    }
    assert public <= set(exported), f"{name} defines {public - set(exported)} without exporting it"


def test_every_public_name_of_the_package_resolves() -> None:
    for name in noiseproof.__all__:
        assert getattr(noiseproof, name) is not None
    assert dir(noiseproof) == sorted(noiseproof.__all__)
    assert noiseproof.__version__.startswith("0.")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        noiseproof.nothing  # noqa: B018


def test_every_room_of_the_public_face_has_names() -> None:
    rooms = {name for name in noiseproof.__all__ if inspect.ismodule(getattr(noiseproof, name))}
    assert rooms >= set(ROOMS) & {
        "attacks",
        "data",
        "experiments",
        "models",
        "perturbations",
        "training",
        "verification",
    }
    for name in rooms:
        module = getattr(noiseproof, name)
        assert module.__all__, f"noiseproof.{name} shows nothing"
        assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_type_checkers_do_not_take_every_name(path: Path) -> None:
    for node in ast.parse(path.read_text()).body:
        shown = isinstance(node, ast.FunctionDef) and node.name == "__getattr__"
        assert not shown, "a module's __getattr__ stands below `if not TYPE_CHECKING`, or every misspelt name passes"


def loaded_after(code: str) -> set[str]:
    report = f"import sys\n{code}\nprint('\\n'.join(m for m in sys.modules))"
    result = subprocess.run([sys.executable, "-W", "error", "-c", report], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return {name.split(".")[0] for name in result.stdout.split()}


def test_importing_is_light_and_silent() -> None:
    assert not loaded_after("import noiseproof") & {
        "torch",
        "numpy",
        "scipy",
        "matplotlib",
        "pyarrow",
        "sklearn",
        "cyclopts",
    }
    assert not loaded_after("import noiseproof.cli") & {"torch", "numpy", "scipy", "matplotlib", "pyarrow", "sklearn"}
    using = loaded_after("import noiseproof; noiseproof.SmoothedClassifier; noiseproof.Gaussian(1.0)")
    assert not using & {"matplotlib", "pyarrow", "sklearn", "jinja2", "cyclopts", "PIL"}


def test_few_modules_stand_outside_a_room() -> None:
    loose = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
    assert loose == {"__main__", "certified", "errors", "randomness", "smoothing"}


def test_tests_stand_in_folders_of_the_same_names() -> None:
    here = Path(__file__).parent
    folders = {path.parent.relative_to(here).parts for path in here.rglob("test_*.py")}
    assert {parts[0] for parts in folders if parts} <= set(ROOMS)
    assert all(len(parts) <= 1 for parts in folders)


def test_files_stay_small() -> None:
    long = {path.name: count for path in SOURCE.rglob("*.py") if (count := len(path.read_text().splitlines())) > 400}
    assert not long, "past 400 lines a file is asking to be two"


@pytest.mark.parametrize(
    ("called", "named"),
    [
        ("/usr/bin/noiseproof", "noiseproof"),
        ("/lib/noiseproof/__main__.py", "noiseproof"),
        ("/here/train.py", "train.py"),
    ],
)
def test_records_name_the_program_by_which_they_were_made(
    called: str, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "certify", "runs/x"])
    assert provenance("cpu")["command"] == [named, "certify", "runs/x"]
