from __future__ import annotations

import numpy as np

from edgesr.cube.sample import CITATION, LICENCE, indian_pines


def test_the_sample_is_the_published_scene() -> None:
    cube = indian_pines()
    assert cube.shape == (145, 145, 200)
    assert cube.data.dtype == np.uint16
    assert (cube.data.min(), cube.data.max()) == (955, 9604)
    assert cube.wavelengths.min() == 400.02
    assert cube.wavelengths.max() == 2498.96
    assert "10.4231/R7RX991C" in CITATION
    assert "CC BY 3.0" in LICENCE
    assert CITATION in cube.source
    assert LICENCE in cube.source
