from __future__ import annotations

import numpy as np
import pytest
from edgesr_export.errors import ExportError
from edgesr_export.runtime import session


@pytest.fixture
def path(write_operator, tmp_path):
    return write_operator("Relu(x)", tmp_path / "relu.onnx")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_session_is_a_function_of_an_array(path, threads):
    run = session(path, threads)
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 6))
    np.testing.assert_array_equal(run(image), np.maximum(image.astype(np.float32), 0))
    assert run.input_shape == ("batch", 3, "height", "width")
    assert run.threads == threads


def test_another_number_of_bands_is_one_clear_line(path):
    with pytest.raises(
        ExportError, match=r"relu\.onnx takes input .* failed on \(1, 4, 5, 6\)"
    ) as e:
        session(path)(np.zeros((1, 4, 5, 6), dtype=np.float32))
    assert "\n" not in str(e.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExportError, match=r"absent\.onnx does not exist"):
        session(tmp_path / "absent.onnx")


@pytest.mark.parametrize("content", [b"", b"no model at all", "truncated"])
def test_a_file_that_is_no_model_is_one_clear_line(path, content, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(path.read_bytes()[:-20] if content == "truncated" else content)
    with pytest.raises(ExportError, match="cannot be loaded") as caught:
        session(broken)
    assert "\n" not in str(caught.value)


def test_threads_below_one_are_refused(path):
    with pytest.raises(ExportError, match="at least 1 thread"):
        session(path, 0)
