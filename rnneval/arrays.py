"""Types of arrays that several rooms share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]  # numbers of tokens in a vocabulary
Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]  # of any precision
