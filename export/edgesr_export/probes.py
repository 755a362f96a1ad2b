"""Images that two forms of a network are compared on: plausible ones, and ones that hurt.

Zeros and ones show a bias that moved, steps a border that is padded otherwise, noise everything,
odd sizes a size that was frozen into the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgesr_export.errors import ExportError

SIZES = ((24, 20), (7, 5), (13, 9))
"""Heights and widths where the file leaves them free; the first one gets every kind of image."""


def probes(shape: Sequence[int | str], seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Named float32 images [N, C, H, W] with values in [0, 1] that the input ``shape`` takes.

    Args:
        shape: lengths of the input's axes; a name, or a number below 1, where it is free.
        seed: of the noise.

    Raises:
        ExportError: not an image of a known number of channels.
    """
    lengths = [length if isinstance(length, int) and length > 0 else None for length in shape]
    if len(lengths) != 4 or lengths[1] is None:
        raise ExportError(
            f"a network of images [N, C, H, W] with a known C is needed, this one takes "
            f"{list(shape)}; fix the number of channels"
        )
    batch, bands, height, width = lengths[0], int(lengths[1]), *lengths[2:]
    rng = np.random.default_rng(seed)
    sizes = list(dict.fromkeys((height or h, width or w) for h, w in SIZES))
    first = (batch or 1, bands, *sizes[0])
    yield "scene", _scene(first, rng)
    yield "zeros", np.zeros(first, np.float32)
    yield "ones", np.ones(first, np.float32)
    yield "step across", _step(first, 3)
    yield "step down", _step(first, 2)
    yield "noise", rng.random(first, dtype=np.float32)
    for rows, columns in sizes[1:]:
        odd = (batch or 1, bands, rows, columns)
        yield f"noise {rows} x {columns}", rng.random(odd, dtype=np.float32)
    if batch is None:
        yield "batch of 2", rng.random((2, *first[1:]), dtype=np.float32)


def _step(shape: tuple[int, ...], axis: int) -> np.ndarray:
    image = np.zeros(shape, np.float32)
    half = [slice(None)] * 4
    half[axis] = slice(shape[axis] // 2, None)
    image[tuple(half)] = 1
    return image


def _scene(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Smooth in space and over bands, as reflectance is, with a little noise."""
    count, bands, height, width = shape
    y, x, band = (np.linspace(0, 1, length) for length in (height, width, bands))
    image = np.zeros(shape)
    for _ in range(6):
        frequency, phase = (
            rng.uniform(0.5, 4, (3, count, 1)),
            rng.uniform(0, 2 * np.pi, (3, count, 1)),
        )
        waves = [
            np.cos(np.pi * f * axis + p)
            for f, axis, p in zip(frequency, (band, y, x), phase, strict=True)
        ]
        image += np.einsum("nb,ny,nx->nbyx", *waves)
    image = 0.5 + image / 12 + rng.normal(0, 0.01, shape)
    return np.clip(image, 0, 1).astype(np.float32)
