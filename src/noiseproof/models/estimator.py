"""scikit-learn estimators as classifiers of images."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from noiseproof.classifiers.runners import Runner
from noiseproof.errors import InvalidInputError

__all__ = ["EstimatorRunner"]


class EstimatorRunner(Runner):
    """A fitted estimator, which gets the flattened pixels of each image as one row of features.

    Args:
        estimator: an object with `predict`, fitted on the integer labels 0 .. k - 1.

    Raises:
        InvalidInputError: it was fitted on other labels.
    """

    kind = "numpy"

    def __init__(self, estimator: Any) -> None:
        classes = np.asarray(getattr(estimator, "classes_", np.arange(2)))
        if classes.dtype.kind not in "iu" or list(classes) != list(range(len(classes))):
            raise InvalidInputError(
                "the labels of the estimator",
                required="the integers from 0 to k - 1",
                got=classes[:5].tolist(),
                remedy="Fit it on numbers: sklearn.preprocessing.LabelEncoder gives them.",
            )
        self._estimator = estimator

    def __call__(self, batch: Float[np.ndarray, "batch *shape"]) -> Int[np.ndarray, " batch"]:
        """Return the predicted labels."""
        return np.asarray(self._estimator.predict(batch.reshape(len(batch), -1)))

    def digest(self) -> str:
        """Return a hash of the estimator with everything it learned."""
        import joblib

        return str(joblib.hash(self._estimator))
