"""The one place that chooses cuML or scikit-learn for an estimator: by device and import alone, and it is recorded."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def library_for(device: str) -> str:
    """Return ``"cuml"`` for the device ``cuda`` where cuML is installed, else ``"scikit-learn"``."""
    return "cuml" if device.startswith("cuda") and find_spec("cuml") else "scikit-learn"


def support_vector_regressor(library: str, *, kernel: str, c: float, epsilon: float, gamma: float) -> Any:
    """Return an unfitted epsilon-SVR of ``library`` with every setting that matters written out.

    Once fitted, both have ``support_`` (rows), ``dual_coef_`` and ``intercept_``, as NumPy arrays.

    Parameters
    ----------
    library
        ``"cuml"`` or ``"scikit-learn"``, from ``library_for``.
    kernel
        ``"rbf"``, or ``"precomputed"`` to fit on a square kernel matrix.
    c, epsilon, gamma
        Penalty, half-width of the tube in rating points, and the kernel's ``exp(-gamma * distance ** 2)``.
    """
    if library == "cuml":
        from cuml.svm import SVR  # type: ignore[import-not-found]

        # https://docs.rapids.ai/api/cuml/stable/api/generated/cuml.svm.svr/
        return SVR(
            kernel=kernel,
            C=c,
            epsilon=epsilon,
            gamma=gamma,
            tol=1e-3,
            cache_size=2048.0,
            max_iter=-1,
            output_type="numpy",
        )
    from sklearn.svm import SVR

    # scikit-learn annotates gamma as a string, and takes a number.
    return SVR(kernel=kernel, C=c, epsilon=epsilon, gamma=gamma, tol=1e-3, cache_size=1024)  # pyright: ignore[reportArgumentType]
