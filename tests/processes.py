"""The environment of processes that tests start: one thread, plain output, and the helpers of the tests to import."""

import os
from pathlib import Path

_PATHS = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
QUIET = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": _PATHS}
