"""Band metadata as files write it: units of wavelength, lists in braces, names of variables."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgesr.errors import EdgesrWarning, shown

_PER_UNIT = {
    re.compile("nm|nano(m|met(er|re))s?"): 1.0,
    re.compile("[uµμ]m|micro(n|m|met(er|re))s?"): 1e3,
    re.compile("mm|millimet(er|re)s?"): 1e6,
    re.compile("m|met(er|re)s?"): 1e9,
    re.compile("å|[åa]ngstr[oö]ms?"): 0.1,
}
_NOT_SAID = ("", "unknown", "none")
_LARGEST_MICROMETRES = 100.0  # an optical wavelength without a unit: above it, nanometres
_NARROWEST_NANOMETRES = 0.5  # a width without a unit and wavelengths: below it, micrometres
_WIDTHS = (1e-4, 1.0)
"""A width in wavelengths: what is outside is in another unit, such as 10 nm among micrometres."""
_NUMBER = re.compile(
    r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|\b(?:nan|inf|infinity)\b)", re.IGNORECASE
)
_NO_NAME = re.compile(r"band[ _]?\d+|\d+(\.\d+)? *(nm|nanometers)|", re.IGNORECASE)
_WAVELENGTHS = re.compile(
    r"(wl|wave|wav|wavelen|cwl|(band_?|wave_?)?cent(er|re)s?|bands?(?=_(nm|um)))s?(_?(nm|um))?"
)
_NAMED = re.compile(r"band[ _]?(\d{3,4})", re.IGNORECASE)
_DESCRIBED = re.compile(r"(\d+(?:\.\d+)?)\s*(nanomet|nm|micromet|micron|um\b|µm)", re.IGNORECASE)


def nanometres(values: np.ndarray | None, unit: str | None) -> np.ndarray | None:
    """Wavelengths or widths in nanometres, float64; None when the unit is not a length.

    Without a unit, values up to 100 are taken for micrometres.
    """
    if values is None:
        return None
    numbers = np.asarray(values, dtype=np.float64).ravel()
    factor = unit_factor(numbers, unit)
    return None if factor is None else numbers * factor


def unit_factor(
    wavelengths: np.ndarray,
    unit: str | None,
    path: Path | str | None = None,
    said: str | None = None,
) -> float | None:
    """Nanometres per unit; None when the unit is not a length, which a warning says.

    What the user has ``said`` it is goes before all. A unit of the file at ``path`` with which no
    camera could see the wavelengths, such as 500 micrometres, is replaced by the one that is
    likely, with a warning.
    """
    if said is not None:
        return _per_unit(said)
    likely = 1e3 if np.nanmax(wavelengths, initial=0.0) <= _LARGEST_MICROMETRES else 1.0
    if _is_unsaid(unit):
        return likely
    factor = _per_unit(unit)
    if path is not None and factor is None:
        warnings.warn(
            f"{path}: wavelengths left out, as {shown(unit)} is no unit of length; "
            "--wavelength-unit nm or um says what they are in",
            EdgesrWarning,
            stacklevel=2,
        )
    if path is None or factor is None or _can_be_seen(wavelengths * factor):
        return factor
    if not _can_be_seen(wavelengths * likely):
        return factor
    warnings.warn(
        f"{path}: wavelengths are said to be in {shown(unit)}, but can only be in {_short(likely)},"
        " which is taken; --wavelength-unit overrules it",
        EdgesrWarning,
        stacklevel=2,
    )
    return likely


def has_wavelength_unit(unit: str | None) -> bool:
    """Whether a unit is one that lengths of waves have, and few other lengths."""
    return _per_unit(unit) in (1.0, 1e3, 0.1)


def spectrum(
    centres: np.ndarray | None,
    widths: np.ndarray | None,
    unit: str | None,
    path: Path | str,
    said: str | None = None,
    unit_of_widths: str | None = None,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Wavelengths and full widths at half maximum in nanometres, as a file at ``path`` has them.

    Args:
        centres: wavelengths as they are stored, or None.
        widths: as they are stored, or None. Those as wide as the wavelengths, or a ten-thousandth
            of them, are in another unit than said: the one that fits is taken, with a warning.
        unit: of the wavelengths, and of the widths where they have none of their own. Where there
            are no wavelengths and no unit, widths below 0.5 are taken for micrometres.
        path: of the file, for warnings.
        said: unit of both by the user.
        unit_of_widths: their own.
    """
    factor = None
    if centres is not None or said is not None or not _is_unsaid(unit):
        factor = unit_factor(np.empty(0) if centres is None else centres, unit, path, said)
    wavelengths = None if centres is None or factor is None else centres * factor
    if said is None:
        factor = _per_unit(unit_of_widths) or factor
    if widths is not None and centres is None and factor is None and _is_unsaid(unit):
        factor = 1e3 if np.median(widths) < _NARROWEST_NANOMETRES else 1.0
    if widths is None or factor is None:
        return wavelengths, None
    if wavelengths is None:
        return None, widths * factor
    fitting = _unit_that_fits(widths, wavelengths, factor)
    if fitting != factor:
        warnings.warn(
            f"{path}: widths of bands can only be in {_short(fitting)}, which is taken",
            EdgesrWarning,
            stacklevel=2,
        )
    return wavelengths, widths * fitting


def _unit_that_fits(widths: np.ndarray, wavelengths: np.ndarray, factor: float) -> float:
    """Nanometres per unit of widths: ``factor``, unless only another can be."""
    width = float(np.median(widths))
    low, high = (share * float(np.median(wavelengths)) for share in _WIDTHS)
    return next((one for one in (factor, 1.0, 1e3) if low < width * one < high), factor)


def _short(factor: float) -> str:
    return "nm" if factor == 1.0 else "um"


def _is_unsaid(unit: str | None) -> bool:
    return (unit or "").strip().lower() in _NOT_SAID


def _per_unit(unit: str | None) -> float | None:
    """Nanometres per unit, such as ``Nanometers (nm)``; None for what is no length."""
    word = re.split(r"[\s(\[]", (unit or "").strip().lower())[0]
    return next((factor for known, factor in _PER_UNIT.items() if known.fullmatch(word)), None)


def _can_be_seen(wavelengths: np.ndarray) -> bool:
    """Whether most of them are 0.1 to 100 micrometres long; those of unused bands are 0."""
    some = wavelengths[np.isfinite(wavelengths) & (wavelengths > 0)]
    return some.size == 0 or bool(100.0 <= np.median(some) <= 1e5)


def numbers(text: str | None) -> np.ndarray | None:
    """The numbers of a list such as ``{0.4, 0.5, nan}``: float64, or None when there are none."""
    found = _NUMBER.findall(text or "")
    return np.array(found, dtype=np.float64) if found else None


def described_wavelengths(descriptions: Sequence[str | None]) -> np.ndarray | None:
    """Nanometres in band descriptions such as ``band 1 (418.24 Nanometers)``, or None.

    Numbers alone, as in ``Band_503``, are taken for nanometres where they can be no count of bands:
    each of 300 to 3000, ascending, and none the one that follows the band before.
    """
    texts = [text or "" for text in descriptions]
    found = [_DESCRIBED.search(text) for text in texts]
    if all(found):
        return np.array(
            [
                float(one[1]) * (1.0 if one[2].lower().startswith("n") else 1e3)
                for one in found
                if one is not None
            ]
        )
    named = [_NAMED.fullmatch(text.strip()) for text in texts]
    if len(named) < 2 or not all(named):
        return None
    numbered = np.array([float(one[1]) for one in named if one is not None])
    optical = (numbered >= 300).all() and (numbered <= 3000).all()
    return numbered if optical and (np.diff(numbered) > 1).all() else None


def band_names(names: Iterable[str | None]) -> tuple[str, ...] | None:
    """Names of bands, empty where one says but its number or wavelength; None where all do."""
    texts = ((name or "").strip() for name in names)
    found = tuple("" if _NO_NAME.fullmatch(text) else text for text in texts)
    return found if any(found) else None


def is_wavelength_name(name: str) -> bool:
    """Whether a variable's name says that it holds band centres."""
    last = re.split(r"[./]", name)[-1].lower()
    return (
        last.startswith(("wave_length", "wvl", "lambda"))
        or (last.startswith("list_cw") and "flag" not in last)
        or ("wavelength" in last and not last.startswith("good") and "unit" not in last)
        or bool(_WAVELENGTHS.fullmatch(last))
    )


def is_band_axis(name: str | None) -> bool:
    """Whether the name of an axis says that it is the one of the bands."""
    last = re.split(r"[./]", name or "")[-1].lower()
    return "wavelength" in last or bool(
        re.fullmatch(r"(\w+_)?(bands?|wvl|lambda|channels?|spectral)(_\w+)?", last)
    )


def is_fwhm_name(name: str) -> bool:
    """Whether a variable's name says that it holds full widths at half maximum."""
    return "fwhm" in re.split(r"[./]", name)[-1].lower()


def is_bad_band_name(name: str) -> bool:
    """Whether a variable's name says that it holds a list of good (1) and bad (0) bands."""
    return re.split(r"[./]", name)[-1].lower() in (
        "bbl", "bad_band_list", "good_bands", "good_wavelengths",
    )  # fmt: skip
