"""What is measured: networks, forms, sizes; and the short names that tables have for them."""

from __future__ import annotations

BANDS, SCALE, BLOCKS = 128, 4, 16
RANK = 32
NETWORKS = {
    "dense": "LKCA-Net",
    "g=8": "LKCA-LR, g = 8",
    "R=32": "LKCA-Net, rank 32",
    "R=8": "LKCA-Net, rank 8",
    "vdsr": "VDSR",
    "3dfcnn": "3DFCNN",
    "dacn": "DACN",
}
IN_FULL = ("dense", "g=8", "R=32")
"""Networks that are measured in every form; the others in those that tell what rewrites do."""

SIDES = (16, 32, 64, 128)
"""LR sides that latency is measured at."""

FORMS = {
    "plain": "plain",
    "rewritten": "rewritten",
    "slabs": "slabs",
    "fp16": "slabs, FP16",
    "int8": "slabs, INT8",
    "eager": "torch",
    "eager bf16": "torch bf16",
    "compiled": "torch.compile",
    "openvino plain": "OpenVINO plain",
    "openvino plain bf16": "OpenVINO plain, bf16",
    "openvino": "OpenVINO rewritten",
    "openvino bf16": "OpenVINO rewritten, bf16",
}
"""By the name in a record, the one in a table: torch's own ONNX file is "plain"; "rewritten" has
the exact rewrites, "slabs" those for the CPU too (what ``edgesr export --target cpu`` writes)."""

ON_ONNX_RUNTIME = ("plain", "rewritten", "slabs", "fp16", "int8")
