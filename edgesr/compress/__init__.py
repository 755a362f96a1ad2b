"""Compress a network: ``edgesr.compress(recipe)`` from Python, or ``python -m edgesr.compress``.

The folder and the call have one name, so the module can be called.
"""

import sys
from types import ModuleType
from typing import Any

from edgesr.compress.api import compress

__all__ = ["compress"]


class _Callable(ModuleType):
    __doc__ = __doc__

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        return compress(*arguments, **options)


sys.modules[__name__].__class__ = _Callable
