"""Targets: what a network is made for, one file each; every file registers its own.

A target of another distribution comes in through the entry point ``edgesr.targets``. Neither this
package nor a file of it imports a runtime, torch or onnx before it is used, so that names can be
listed at once.
"""

from edgesr_export.targets._base import (
    ALWAYS,
    PRECISIONS,
    TARGETS,
    Built,
    Compare,
    Network,
    Row,
    Runtime,
    Target,
    find_target,
    not_installed,
    register,
    runtimes,
)

__all__ = [
    "ALWAYS",
    "PRECISIONS",
    "TARGETS",
    "Built",
    "Compare",
    "Network",
    "Row",
    "Runtime",
    "Target",
    "find_target",
    "not_installed",
    "register",
    "runtimes",
]
