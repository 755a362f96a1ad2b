"""How a cube is divided into training, tuning, budget and test, by the name of the publication.

Each role has pixels of its own: *tuning* chooses epochs, *budget* measures what a compressed
network loses, *test* is reported. Every protocol is a pure function of the image size and the
scale; no pixel is read here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgesr.cube.cube import Window
from edgesr.cube.held_out import MIN_SIDE, along_edges, along_right, evenly, hold_out
from edgesr.errors import DataError, OptionError

MIN_LR_SIDE = 4
_LARGEST_TEST = 512
_PUBLISHED_BLOCK = 64


@dataclass(frozen=True)
class Regions:
    """Regions of an image.

    Attributes:
        crop: the part that is used; everything below is counted from its upper left corner.
        train: regions that training patches are cut from; they may overlap each other.
        tuning: windows that choose epochs; empty = a share of the training patches does.
        budget: windows that drops are measured on.
        test: windows that are tested.
        guard: HR pixels around ``tuning`` and ``budget`` that belong to no other role.
    """

    crop: Window
    train: tuple[Window, ...]
    tuning: tuple[Window, ...]
    budget: tuple[Window, ...]
    test: tuple[Window, ...]
    guard: int = 0


@dataclass(frozen=True)
class Protocol:
    """A named division of a cube.

    Attributes:
        name: what ``--protocol`` takes.
        title: one line on what it is and where it comes from.
        shape: the published height, width and bands; None = any.
        regions: (height, width, scale) -> :class:`Regions`.
        patches: scale -> size and overlap of the training patches, in HR pixels.
        degradation: method of the LR images.
        normalisation: mode, where the user does not choose one.
        bands: band selection, where the user does not choose one.
        cover: whether patches also end exactly at the far edges of a training region.
        leaks: True = training patches that intersect the test window are kept, as published.
        trains_alone: True = nothing is held out, as for the extra scenes of a training.
    """

    name: str
    title: str
    shape: tuple[int, int, int] | None
    regions: Callable[[int, int, int], Regions]
    patches: Callable[[int], tuple[int, int]]
    degradation: str
    normalisation: str = "scene"
    bands: str = "all"
    cover: bool = False
    leaks: bool = False
    trains_alone: bool = False


def minimum_side(scale: int) -> int:
    """Smallest side, in HR pixels, of a patch or a test window."""
    side = max(MIN_SIDE, MIN_LR_SIDE * scale)
    return -(-side // scale) * scale


def _thirds(height: int, width: int, scale: int, patch: int) -> Regions:
    """Top third: test, in windows of at most 512 x 512. The rest: see :func:`hold_out`.

    On Indian Pines (144 x 144 of it) at x4, rows 0-48 are tested; six budget blocks of 16 x 16 and
    two tuning windows of 24 x 16 lie in the outer 16 columns of the rest; with guards of 12 pixels,
    84 x 88 pixels train. Sides are whole multiples of the scale.
    """
    smallest = 3 * minimum_side(scale)
    if height < smallest or width < smallest:
        raise DataError(
            f"the image of {height} x {width} pixels is too small to be divided into train, "
            f"tuning, budget and test at x{scale}; the smallest is {smallest} x {smallest}: bring "
            "a larger cube or a smaller scale"
        )
    height, width = height // scale * scale, width // scale * scale
    top = height // 3 // scale * scale
    rest = hold_out(Window(top, 0, height - top, width), scale, patch)
    return Regions(
        crop=Window(0, 0, height, width),
        train=rest.train,
        tuning=rest.tuning,
        budget=rest.budget,
        test=evenly(Window(0, 0, top, width), _LARGEST_TEST, scale),
        guard=rest.guard,
    )


def _auto(height: int, width: int, scale: int) -> Regions:
    """:func:`_thirds` for the patches of LKCA-Net."""
    return _thirds(height, width, scale, _lkca_patches(scale)[0])


def _everything(height: int, width: int, scale: int) -> Regions:
    """The whole image trains."""
    whole = Window(0, 0, height // scale * scale, width // scale * scale)
    return Regions(whole, (whole,), (), (), ())


def _indian_pines(height: int, width: int, scale: int) -> Regions:
    """:func:`_thirds` of the first 144 x 144 pixels, so that thirds are 48 at x2, x4 and x8."""
    return _thirds(144, 144, scale, _sample_patches(scale)[0])


def _lkca(crop: Window, train: tuple[Window, ...], test: tuple[Window, ...], scale: int) -> Regions:
    """As published, with budget blocks at the edges of the first training region."""
    guard = _lkca_patches(scale)[0] // scale
    budget = along_edges(train[0], _PUBLISHED_BLOCK // scale * scale, guard)
    return Regions(crop, train, (), budget, test, guard)


def _chikusei(height: int, width: int, scale: int) -> Regions:
    """Central 2304 x 2048; the top 512 rows are four test windows of 512 x 512."""
    crop = Window((height - 2304) // 2, (width - 2048) // 2, 2304, 2048)
    test = tuple(Window(0, col, 512, 512) for col in range(0, 2048, 512))
    return _lkca(crop, (Window(512, 0, 2304 - 512, 2048),), test, scale)


def _houston2018(height: int, width: int, scale: int) -> Regions:
    """Eight test windows of 256 x 256 in the top 512 x 1024; 178 columns beside them are unused."""
    test = tuple(
        Window(row, col, 256, 256) for row in range(0, 512, 256) for col in range(0, 1024, 256)
    )
    train = (Window(512, 0, height - 512, width),)
    return _lkca(Window(0, 0, height, width), train, test, scale)


def _pavia_centre(height: int, width: int, scale: int) -> Regions:
    """Three test windows of 224 x 224 at the left of the top 224 rows; all the rest trains."""
    test = tuple(Window(0, col, 224, 224) for col in range(0, 672, 224))
    train = (Window(224, 0, height - 224, width), Window(0, 672, 224, width - 672))
    return _lkca(Window(0, 0, height, width), train, test, scale)


def _dacn(row: int, col: int) -> Callable[[int, int, int], Regions]:
    """One test patch of 144 x 144 at (row, col); training patches lie on a grid from (0, 0).

    Budget blocks lie at the right edge, which the grid does not reach.
    """

    def regions(height: int, width: int, scale: int) -> Regions:
        whole = Window(0, 0, height, width)
        unused = width % 144
        side = min(_PUBLISHED_BLOCK, unused // MIN_SIDE * MIN_SIDE) // scale * scale
        budget = along_right(height, width, side)
        guard = min(144 // scale, unused - side)
        return Regions(whole, (whole,), (), budget, (Window(row, col, 144, 144),), guard)

    return regions


def _lkca_patches(scale: int) -> tuple[int, int]:
    """64 pixels, overlap 32, up to x4; 128 pixels, overlap 64, at x8."""
    return (64, 32) if scale <= 4 else (128, 64)


def _dacn_patches(scale: int) -> tuple[int, int]:
    """144 pixels without overlap, at every scale."""
    return 144, 0


def _sample_patches(scale: int) -> tuple[int, int]:
    """48 pixels every 8: what the 48-row training strips of Indian Pines hold."""
    return 48, 40


_LKCA = "LKCA-Net, Rethinking the Upsampling Layer in Hyperspectral Image Super Resolution"
_DACN = "DACN, arXiv 2506.05041"

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "auto",
            "top third tested; below it, edges for tuning and budget, the rest trains; with guards",
            None, _auto, _lkca_patches, "bicubic", "band", "clean", cover=True,
        ),
        Protocol(
            "indian_pines",
            "embedded AVIRIS sample: rows 0-47 tested, the rest divided as auto does",
            (145, 145, 200), _indian_pines, _sample_patches, "bicubic", "band", "clean", cover=True,
        ),
        Protocol(
            "train_only",
            "the whole image trains: for scenes that are mixed in",
            None, _everything, _lkca_patches, "bicubic", "band", "all", cover=True,
            trains_alone=True,
        ),
        Protocol(
            "chikusei",
            f"{_LKCA}: central 2304 x 2048, four 512 x 512 of the top strip tested",
            (2517, 2335, 128), _chikusei, _lkca_patches, "bicubic",
        ),
        Protocol(
            "houston2018",
            f"{_LKCA}: eight 256 x 256 of the top 512 x 1024 tested",
            (4172, 1202, 48), _houston2018, _lkca_patches, "bicubic",
        ),
        Protocol(
            "pavia_centre",
            f"{_LKCA}: three 224 x 224 of the top 224 rows tested",
            (1096, 715, 102), _pavia_centre, _lkca_patches, "bicubic",
        ),
        Protocol(
            "dacn_pavia_university",
            f"{_DACN}: the patch at (0, 0) tested, grid of 144 x 144 patches",
            (610, 340, 103), _dacn(0, 0), _dacn_patches, "area",
        ),
        Protocol(
            "dacn_pavia_centre",
            f"{_DACN}: the patch at (952, 285) tested, without the patches that intersect it",
            (1096, 715, 102), _dacn(952, 285), _dacn_patches, "area",
        ),
        Protocol(
            "dacn_pavia_centre_leaking",
            f"{_DACN}: as its code has it, two training patches cover 38.9 % of the test patch",
            (1096, 715, 102), _dacn(952, 285), _dacn_patches, "area", leaks=True,
        ),
    )
}  # fmt: skip


def get_protocol(name: str) -> Protocol:
    """The protocol of that name; OptionError lists the names."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise OptionError(
            f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}"
        ) from None
