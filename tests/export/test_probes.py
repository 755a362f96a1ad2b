from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.probes import probes


def test_free_axes_get_odd_sizes_and_a_batch():
    images = dict(probes(["batch", 3, "height", "width"]))
    assert {image.shape for image in images.values()} == {
        (1, 3, 24, 20),
        (1, 3, 7, 5),
        (1, 3, 13, 9),
        (2, 3, 24, 20),
    }
    assert all(image.dtype == np.float32 for image in images.values())
    assert all(image.min() >= 0 and image.max() <= 1 for image in images.values())
    assert not images["zeros"].any()
    assert images["ones"].all()
    np.testing.assert_array_equal(images["step across"][0, 0, 5], np.arange(20) >= 10)
    np.testing.assert_array_equal(images["step down"][0, 0, :, 5], np.arange(24) >= 12)


def test_a_scene_is_smooth_and_no_constant():
    scene = dict(probes([1, 30, "h", "w"]))["scene"][0]
    assert scene.std() > 0.05
    for axis in range(3):
        assert np.abs(np.diff(scene, axis=axis)).mean() < scene.std()


def test_fixed_axes_are_kept():
    shapes = {image.shape for _, image in probes([4, 2, 11, "width"])}
    assert shapes == {(4, 2, 11, 20), (4, 2, 11, 5), (4, 2, 11, 9)}
    assert {image.shape for _, image in probes([1, 2, 6, 8])} == {(1, 2, 6, 8)}


@pytest.mark.parametrize("shape", [["n", "c", 4, 4], [1, 3, 4], ["n", 0, 4, 4]])
def test_what_is_no_image_of_known_depth_is_refused(shape):
    with pytest.raises(ExportError, match="known C"):
        list(probes(shape))
