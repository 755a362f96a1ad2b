from __future__ import annotations

import subprocess
import sys

import onnxruntime
import torch

from edgesr.report import environment, validate
from edgesr.report.model import Environment


def test_versions_are_those_of_the_modules(report):
    here = environment("cpu", 3)
    assert here["torch"] == torch.__version__
    assert here["onnxruntime"] == onnxruntime.__version__
    assert (here["device"], here["threads"]) == ("cpu", 3)
    assert set(here) == set(Environment.__struct_fields__)
    validate(report | {"environment": here})


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from edgesr.report import environment; environment();"
        "print(sorted({'torch', 'onnx', 'matplotlib', 'jsonschema'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
