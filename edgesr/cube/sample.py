"""The embedded default: AVIRIS Indian Pines, as the PyPI package ``tensorly`` ships it."""

from __future__ import annotations

import numpy as np

from edgesr.cube.cube import Cube

NAME = "indian_pines"
CITATION = (
    "Baumgardner, M. F., Biehl, L. L., Landgrebe, D. A. (2015). 220 Band AVIRIS Hyperspectral "
    "Image Data Set: June 12, 1992 Indian Pine Test Site 3. Purdue University Research "
    "Repository. doi:10.4231/R7RX991C"
)
LICENCE = "CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/legalcode)"


def indian_pines() -> Cube:
    """Cube of 145 x 145 x 200, uint16 digital numbers 955 to 9604, 20 m pixels, 400 to 2499 nm.

    The 20 water-absorption bands of the 220 are already removed. Wavelengths are the file's own;
    they step back where two spectrometers of AVIRIS overlap.
    """
    from tensorly.datasets import load_indian_pines

    bunch = load_indian_pines()
    return Cube(
        data=np.asarray(bunch.tensor).astype(np.uint16),
        name=NAME,
        wavelengths=np.asarray(bunch.ticks[1], dtype=np.float64),
        source=f"{CITATION}. {LICENCE}. Shipped by the Python package tensorly",
    )
