"""The recipe of reference [17]: networks that are verified without noise.

DIR/mnist/kw-single    one network
DIR/mnist/kw-cascade   two, of which the second is for the images that the first does not certify
"""

from dataclasses import dataclass
from pathlib import Path

from noiseproof.experiments.recipes import Facts, Recipe, Step
from noiseproof.runs.verification_records import Verified
from noiseproof.training import CHECKPOINT

__all__ = ["Verification"]

_TRAINING = {"ramp_epochs": 1, "schedule": "cosine", "batch_size": 32, "epochs": 2, "seed": 0}
_HOUR = (4000.0, "one core")


@dataclass(frozen=True)
class Verification(Recipe[Verified]):
    """A network of reference [17], or a cascade of two, verified in l2.

    Attributes:
        data: the data set.
        radius: of the perturbation.
        cascade: whether there are two.
    """

    data: str
    radius: float
    cascade: bool

    record = Verified

    @property
    def title(self) -> str:
        """As Table 1 calls it."""
        return f"[17] ({'Cascade' if self.cascade else 'Single'}), {self.data}"

    @property
    def folder(self) -> str:
        """Beside those of the networks with noise."""
        return f"{self.data}/kw-{'cascade' if self.cascade else 'single'}"

    def steps(self, records: Path) -> list[Step]:
        """Train what is not there yet, and verify.

        CIFAR-10's cascade is the one that the authors released, its stages saved one by one; MNIST's goes on from the
        single network.
        """
        folder, single = records / self.folder, records / self.data / "kw-single"
        network = f"kw-{self.data.removesuffix('10')}-small"
        runs = [single] if not self.cascade else [single, folder / "stage2"] if self.data == "mnist" else []
        steps = []
        for number, run in enumerate(runs):
            if not (run / CHECKPOINT).exists():
                own = {
                    "data": self.data,
                    "model": network,
                    "objective": "convex-outer",
                    "set": f"epsilon={self.radius!r}",
                }
                steps.append(Step.of(run, "train", cost=_HOUR, **own, **_TRAINING, out=run, after=runs[:number]))
        stages = [str(run / CHECKPOINT) for run in runs] or [f"{network}=stage{number}.pth" for number in range(2)]
        options = {"data": self.data, "radius": self.radius, "every": 10, "stage": stages}
        return [*steps, Step.of(folder, "verify", folder, cost=(60.0, "one core"), **options)]

    def facts(self, record: Verified) -> Facts:
        """Data, norm and radius, and how many networks."""
        yield "data", self.data, record.data.get("name")
        yield "split", "test", record.data.get("split")
        yield "norm", "l2", record.norm
        yield "radius", f"{self.radius:.9g}", f"{record.radius:.9g}"
        yield "a cascade", self.cascade, len(record.stages) > 1
