"""Files that take and give the sensor's own numbers: normalisation, nodata and types inside.

::

    native [N, S, h, w] -- inlet -- the network -- outlet -- native [N, B, r h, r w]

:class:`NativeIO` says what the numbers mean, :func:`io_of` takes that from a card,
:func:`native_reference` what a file then answers,
:func:`make_native` wraps a graph, and :func:`convert_native` a file, compared with the reference.
"""

from edgesr_export.native.carded import io_of, io_of_file, to_native
from edgesr_export.native.convert import convert_native
from edgesr_export.native.graph import make_native, recorded_io
from edgesr_export.native.io import NativeIO, from_bytes, to_bytes
from edgesr_export.native.reference import native_reference

__all__ = [
    "NativeIO",
    "convert_native",
    "from_bytes",
    "io_of",
    "io_of_file",
    "make_native",
    "native_reference",
    "recorded_io",
    "to_bytes",
    "to_native",
]
