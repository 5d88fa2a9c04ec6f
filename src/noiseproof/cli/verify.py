"""`noiseproof verify`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from noiseproof.cli.console import print_json, require_all, say
from noiseproof.cli.options import Device, ImageOptions, Json, NamedDataOptions, NormChoice
from noiseproof.cli.progress import Shown
from noiseproof.numerics.decimals import percent, percent_down, round_down
from noiseproof.perturbations.norms import Norm

__all__ = ["verify"]


def verify(
    out: Annotated[Path, Parameter(name="FOLDER", help="Folder for the result.")],
    /,
    *,
    stages: Annotated[
        tuple[str, ...],
        Parameter(
            name="--stage",
            metavar="NETWORK",
            help="A checkpoint of noiseproof train --objective convex-outer, or NAME=WEIGHTS, such as "
            "kw-mnist-small=stage.pth. Repeat for each stage of a cascade, in order.",
        ),
    ],
    radius: Annotated[float, Parameter(help="Size of the perturbations, pixels in [0, 1].")],
    norm: NormChoice = Norm.L2,
    images: ImageOptions = ImageOptions(),
    data: NamedDataOptions,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Verify networks without noise, as reference [17] of the paper does: no votes, no failure probability.

    In a cascade, an image is classified by the first stage that certifies it.
    """
    from noiseproof.runs import Verify, execute
    from noiseproof.runs.running import device_named
    from noiseproof.runs.verification import load_stage

    where, dataset = device_named(device), data.load("test")
    subject = Verify.subject([(stage, load_stage(stage).to(where)) for stage in stages], dataset)
    job = Verify(radius, norm, images.selection())
    with Shown(job.kept, "verify") as shown:
        record, left = execute(job, out, subject, listener=shown)
    require_all(record, left)
    found = record.result()
    path = found.write(out)
    if json:
        print_json(
            {"file": str(path), "images": found.images, "norm": found.norm, "radius": found.radius}
            | {"certified": 1.0 - found.certified_error, "right": 1.0 - found.clean_error}
        )
        return
    say(
        f"{escape(str(path))}: {found.images} images, certified {percent_down(1.0 - found.certified_error)} "
        f"at {round_down(found.radius, None)}, right {percent(1.0 - found.clean_error)}"
    )
