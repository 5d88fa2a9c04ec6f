"""Every option of the command line, declared once.

A dataclass is a group of options that commands share: its fields are the options, their documentation is the help text.
A single option is an annotated type. Importing this module does not load torch.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter
from rich.markup import escape

from noiseproof.attacks.registry import ATTACKS
from noiseproof.bounds.registry import BOUNDS
from noiseproof.certificates.registry import CERTIFICATES
from noiseproof.cli import names
from noiseproof.cli.console import say
from noiseproof.cli.wording import parse_numbers, parse_part
from noiseproof.noises.registry import NOISES
from noiseproof.perturbations.norms import Norm

if TYPE_CHECKING:
    from noiseproof.data import Dataset
    from noiseproof.runs import DataChoice, Engine, Selection, Subject

__all__ = [
    "DATA",
    "AttackChoice",
    "AttackOptions",
    "BatchSize",
    "Changes",
    "ClassifierOptions",
    "DataOptions",
    "Device",
    "EngineOptions",
    "Every",
    "Flag",
    "ImageOptions",
    "Json",
    "JudgingSamples",
    "NamedDataOptions",
    "NoiseName",
    "NoiseOptions",
    "NormChoice",
    "ProcedureOptions",
    "Profile",
    "Radii",
    "Randomness",
    "Run",
    "Seed",
    "Shard",
    "StoppingOptions",
]

_STOPPING = Group("How many votes", sort_key=2)
_ATTACK = Group("The attack", sort_key=3)
_IMAGES = Group("Which images", sort_key=4)
_PROCEDURE = Group("From votes to radii", sort_key=5)
_CLASSIFIER = Group("Another classifier or noise", sort_key=6)
DATA = Group("Data", sort_key=7)
_ENGINE = Group("Speed", sort_key=9)

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Run = Annotated[
    Path, Parameter(help="A run folder, with a trained network or votes; with --model, the folder for the result.")
]
Seed = Annotated[int, Parameter(help="Seed of all random numbers: the same seed gives the same result.")]
Randomness = Annotated[
    Literal["philox", "chacha20"] | None,
    Parameter(
        help="philox: noise from the seed. chacha20: from a secret key, whose digest is recorded before the first vote.",
        show_default="the run's, or philox",
    ),
]
Json = Annotated[Flag, Parameter(help="Print the result as JSON, for programs.")]
Device = Annotated[str, Parameter(help="Device: auto (a GPU if there is one), cpu, cuda, cuda:1.", group=_ENGINE)]
Profile = Annotated[Flag, Parameter(help="Print the shares of time by stage.", group=_ENGINE)]
BatchSize = Annotated[
    int | None, Parameter(help="Images per call of the network.", show_default="chosen", group=_ENGINE)
]
Every = Annotated[
    int, Parameter(metavar="N", help="Take images 0, N, 2N and so on, to save time: no random sample.", group=_IMAGES)
]
Shard = Annotated[
    tuple[int, int] | None,
    Parameter(
        help="Count only part I of N, such as 3/16; the parts can be merged into one folder.",
        metavar="I/N",
        n_tokens=1,
        converter=parse_part,
        group=_IMAGES,
    ),
]
Radii = Annotated[
    tuple[float, ...] | None,
    Parameter(
        help="Radii of the printed table, such as 0,0.25,0.5.",
        metavar="R,R,...",
        n_tokens=1,
        converter=parse_numbers,
        show_default="round numbers up to the largest possible",
        group=_PROCEDURE,
    ),
]
NormChoice = Annotated[Norm, Parameter(help="The norm of the perturbations.")]
JudgingSamples = Annotated[int, Parameter(help="Fresh votes that judge each point found.", group=_ATTACK)]
NoiseName = Annotated[str, Parameter(choices=tuple(NOISES))]
Changes = Annotated[tuple[str, ...], Parameter(name="--set", metavar="NAME=VALUE", show_default="as published")]
_Scale = Annotated[float | None, Parameter(name=("--sigma", "--scale"))]


@Parameter(name="*", group=_STOPPING)
@dataclass(frozen=True, kw_only=True)
class StoppingOptions:
    """The stopping rule: a fixed number of votes, or with --radius or --rtol a sequential test.

    Attributes:
        samples: Votes per image: 10000 certify radii of up to 3.2 sigma, 1000 up to 2.4 sigma. With --radius or --rtol
            the largest number for one image.
        selection_samples: Extra votes that only choose the class, for the two-phase bound.
        radius: Decide only whether these radii are certified: sampling of an image stops once that is decided.
        rtol: Stop sampling once an image's radius is known to this relative error, such as 0.1.
        runner_up: With --radius and Gaussian noise: compare the winner with the runner-up, not with all other classes
            together. More images are certified where several classes share the rest of the votes.
        beta: With --radius or --rtol: probability that an image that could be certified is given up as futile.
    """

    samples: Annotated[int | None, Parameter(show_default="10000; 100000 with --radius or --rtol")] = None
    selection_samples: Annotated[int | None, Parameter(show_default="100")] = None
    radius: Annotated[tuple[float, ...] | None, Parameter(metavar="R[,R,...]", n_tokens=1, converter=parse_numbers)] = (
        None
    )
    rtol: float | None = None
    runner_up: Flag = False
    beta: Annotated[float | None, Parameter(show_default="0.001")] = None

    @property
    def rule(self) -> str | None:
        """The option that chooses the stopping rule; None where none does."""
        given = {"--radius": self.radius, "--rtol": self.rtol, "--samples": self.samples or self.selection_samples}
        return next((option for option, value in given.items() if value is not None), None)


@Parameter(name="*", group=_IMAGES)
@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """Which images of the test split.

    Attributes:
        every: Take images 0, N, 2N and so on, to save time. This is not a random sample.
        limit: Take at most this many images.
        subset: Draw this many images at random: the only part that gives a bound for the whole file.
        subset_seed: Seed of the random subset.
    """

    every: Annotated[Every | None, Parameter(show_default="1")] = None
    limit: Annotated[int | None, Parameter(show_default="all")] = None
    subset: Annotated[int | None, Parameter(metavar="N", show_default="none")] = None
    subset_seed: Annotated[int | None, Parameter(show_default="0")] = None

    def selection(self) -> "Selection":
        """Return the images that are named."""
        from noiseproof.runs import Selection

        return Selection(**{name: value for name, value in vars(self).items() if value is not None})


@Parameter(name="*", group=_PROCEDURE)
@dataclass(frozen=True, kw_only=True)
class ProcedureOptions:
    """From votes to probabilities to radii.

    Attributes:
        alpha: Failure probability of each certificate.
        bound: Confidence bound, from votes to probabilities; bonferroni is the paper's.
        certificate: Certificate, from probabilities to a radius; renyi is the paper's.
    """

    alpha: Annotated[float | None, Parameter(show_default="the run's, or 0.001")] = None
    bound: Annotated[str | None, Parameter(choices=tuple(BOUNDS), show_default="the run's, or two-phase")] = None
    certificate: Annotated[
        str | None, Parameter(choices=tuple(CERTIFICATES), show_default="the run's, or neyman-pearson")
    ] = None

    def named(self, selection_samples: int = 1) -> dict[str, Any]:
        """Return the options given, as objects; on recorded votes the number of selection samples does not matter."""
        bound = self.bound and names.bound(self.bound, selection_samples)
        named = {
            "alpha": self.alpha,
            "bound": bound,
            "certificate": self.certificate and CERTIFICATES.make(self.certificate),
        }
        return {name: value for name, value in named.items() if value is not None}


@Parameter(name="*", group=_CLASSIFIER)
@dataclass(frozen=True, kw_only=True)
class ClassifierOptions:
    """A classifier other than that of the run folder.

    Attributes:
        model: A model of your own or of the zoo: zoo:NAME, net.safetensors of noiseproof, net.onnx, net.pt2 of
            torch.export, or package.module:factory, whose code is run.
        weights: Weights for a factory's network: .safetensors, .pt of tensors, or .h5 of Keras 2.
    """

    model: Annotated[str | None, Parameter(show_default="the run's")] = None
    weights: Path | None = None

    def load(
        self,
        run: Path | None,
        data: "DataOptions",
        *,
        noise: str | None = None,
        sigma: float | None = None,
        smoothed: bool = False,
    ) -> "Subject":
        """Return the subject of a run folder with the options given, and print what comes from its record."""
        from noiseproof.runs import Subject

        if run is None:
            return Subject.load(self.model or "", weights=self.weights, data=data.choice(), noise=noise, sigma=sigma)
        subject = Subject.of_run(
            run, self.model, weights=self.weights, data=data.choice(), noise=noise, sigma=sigma, smoothed=smoothed
        )
        if subject.taken:
            say(f"From {escape(subject.taken)}")
        return subject


@Parameter(name="*", group=_CLASSIFIER)
@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """Noise other than that of training.

    Attributes:
        sigma: Size of the noise, for pixels in [0, 1]: standard deviation of gaussian, lambda of the others.
        noise: Distribution of the noise, for a model that does not name one.
    """

    sigma: Annotated[_Scale, Parameter(show_default="as in training")] = None
    noise: Annotated[NoiseName | None, Parameter(show_default="gaussian, or as in training")] = None


@Parameter(name="*", group=DATA)
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which data, and where they are.

    Attributes:
        data: digits, mnist, cifar10, your own file.npz, or a folder with a folder of images per class.
        data_dir: Folder with the files of mnist and cifar10.
        allow_unverified: Accept files of mnist and cifar10 that are not the published ones; the record says so.
        image_size: Height and width, in pixels, to which images of a folder are resized and cropped.
        classes: Number of classes of your own images.
        classes_file: For a folder with only some of the classifier's classes: all class names in its order, one per
            line.
    """

    data: Annotated[str | None, Parameter(show_default="the run's")] = None
    data_dir: Annotated[Path | None, Parameter(show_default="NOISEPROOF_DATA, the cache, or downloaded")] = None
    allow_unverified: Flag = False
    image_size: Annotated[int | None, Parameter(show_default="224, or as in training")] = None
    classes: Annotated[int | None, Parameter(show_default="found in the files")] = None
    classes_file: Annotated[Path | None, Parameter(metavar="FILE", show_default="classes.txt in the folder")] = None

    def choice(self) -> "DataChoice":
        """Return the data that are named."""
        from noiseproof.runs import DataChoice

        return DataChoice(
            self.data, self.classes, self.data_dir, self.allow_unverified, self.image_size, self.classes_file
        )


@Parameter(name="*", group=DATA)
@dataclass(frozen=True, kw_only=True)
class NamedDataOptions(DataOptions):
    """Which data, where no record names them.

    Attributes:
        data: digits, mnist, cifar10, your own file.npz, or a folder with a folder of images per class.
    """

    data: str = field()  # required here

    def load(self, split: Literal["train", "test"]) -> "Dataset":
        """Load a split."""
        return self.choice().load(split)


@Parameter(name="*", group=_ENGINE)
@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """How the classifier runs.

    Attributes:
        precision: auto keeps that of a record; a new run of over a minute uses 16 bits where they are 1.5 x as fast and
            keep 99 % of noisy labels.
        compiled: Compile the network first, which takes 5 to 60 s.
        batch_size: Images per call of the network.
        sampler: exact, the default for 8-bit images on a CPU, adds noise in integers: certificates then hold for every
            8-bit image within the radius, in the arithmetic that ran. float adds it in floating point.
        device: Where to compute.
    """

    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    compiled: Annotated[
        bool | None,
        Parameter(name="--compile", negative="--no-compile", show_default="for runs over ten minutes"),
    ] = None
    batch_size: BatchSize = None
    sampler: Annotated[Literal["float", "exact"] | None, Parameter(show_default="the record's, or see above")] = None
    device: Device = "auto"

    def engine(self) -> "Engine":
        """Return how the classifier is to run."""
        from noiseproof.runs import Engine

        return Engine(self.device, self.precision, self.compiled, self.batch_size, self.sampler)


@Parameter(name="*", group=_ATTACK)
@dataclass(frozen=True, kw_only=True)
class AttackChoice:
    """Which attack.

    Attributes:
        attack: Which attack.
        changes: A setting of the attack, such as steps=100; may be repeated. A wrong name lists all.
    """

    attack: Annotated[str, Parameter(choices=tuple(ATTACKS))] = "pgd"
    changes: Changes = ()


@Parameter(name="*", group=_ATTACK)
@dataclass(frozen=True, kw_only=True)
class AttackOptions(AttackChoice):
    """Which attack, of which size, judged by how many votes.

    Attributes:
        norm: The norm of the perturbations.
        epsilons: Sizes of the perturbations, for pixels in [0, 1].
        samples: Fresh votes that judge each point found.
        alpha: Failure probability of the test that decides an image; undecided images abstain.
        source: Transfer the attack from this network to RUN: a run folder, zoo:NAME or net.safetensors.
    """

    norm: NormChoice = Norm.L2
    epsilons: Annotated[
        tuple[float, ...] | None,
        Parameter(
            metavar="E,E,...",
            n_tokens=1,
            converter=parse_numbers,
            show_default="for l2 0.5, 1, 1.5, 2 and 3 times the noise",
        ),
    ] = None
    samples: JudgingSamples = 1000
    alpha: float = 0.001
    source: Annotated[str | None, Parameter(metavar="NETWORK")] = None
