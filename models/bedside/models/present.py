"""Are the classes that a model must learn in the data at all? Asked before an hour of training, answered in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bedside.core.errors import SetupError

PEOPLE_MIN = 2
"""Whole patients are left out when a model is judged: a class of one patient alone is never learned and judged."""


def require(
    labels: npt.NDArray[np.str_] | npt.NDArray[np.int64],
    people: npt.NDArray[np.int64],
    wanted: Mapping[Any, str],
    source: str,
) -> None:
    """`labels`, `people`: shape (n,); `wanted`: label -> its name for people.

    Raises `SetupError` that names every class of which `source` has fewer than two patients.
    """
    found = {name: np.unique(people[labels == label]).size for label, name in wanted.items()}
    lacking = [f"{name} of {n or 'no'} patient{'' if n == 1 else 's'}" for name, n in found.items() if n < PEOPLE_MIN]
    if lacking:
        raise SetupError(
            f"{source}: {', '.join(lacking)}; each class is needed of {PEOPLE_MIN} patients at least",
            hint="add recordings with these classes to the folder",
        )
