"""Ship trained networks: `python zoo/ship.py runs/mnist-stn-0.7 ...` rounds each to bfloat16, into zoo/, and lists its SHA-256.

The name of the run folder becomes the name of the network. What the record says of its training goes with it, but the place
its data lay in. With --exact first, weights stay in float32: of a network that has been certified, for the certificate to
speak of what is shipped.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch

from noiseproof import models
from noiseproof.models.checkpoint import load_checkpoint, save_tensors
from noiseproof.storage.provenance import without_places
from noiseproof.training import CHECKPOINT

ZOO = Path(__file__).parent
LIST = Path(models.__file__).with_name("zoo.json")


def ship(run: Path, *, exact: bool) -> None:
    """Write one network and list it."""
    checkpoint = load_checkpoint(run / CHECKPOINT)
    dtype = torch.float32 if exact else torch.bfloat16
    tensors = {name: value.to(dtype) for name, value in checkpoint.model.state_dict().items()}
    path = ZOO / f"{run.name}.safetensors"
    record = without_places(checkpoint.record) | (
        {} if exact else {"shipped": "weights rounded from float32 to bfloat16"}
    )
    save_tensors(path, tensors, {"model": checkpoint.model_name, "record": record})
    listed = json.loads(LIST.read_text()) | {run.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    LIST.write_text(json.dumps(dict(sorted(listed.items())), indent=2) + "\n")
    print(path, f"{path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    exact = sys.argv[1:2] == ["--exact"]
    for folder in sys.argv[1 + exact :]:
        ship(Path(folder), exact=exact)
