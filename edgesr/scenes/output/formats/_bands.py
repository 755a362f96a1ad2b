"""What is said of a band, in words of raster files."""

from __future__ import annotations

from edgesr.scenes.output.meta import SceneMeta


def band_name(meta: SceneMeta, band: int) -> str:
    """What a band is called: by its name, else by its wavelength, else by its number."""
    if meta.band_names is not None:
        return meta.band_names[band]
    if meta.wavelengths is not None:
        return f"{meta.wavelengths[band]:.10g} nm"
    return f"band {band + 1}"


def band_tags(meta: SceneMeta, band: int) -> tuple[dict[str, str], dict[str, str]]:
    """Tags of a band as EnMAP-Box and edgesr read them, and as GDAL's IMAGERY domain has them."""
    tags, imagery = {}, {}
    if meta.wavelengths is not None:
        tags["wavelength"] = f"{meta.wavelengths[band]:.10g}"
        tags["wavelength_units"] = "Nanometers"
        imagery["CENTRAL_WAVELENGTH_UM"] = f"{meta.wavelengths[band] / 1e3:.10g}"
    if meta.fwhm is not None:
        tags["fwhm"] = f"{meta.fwhm[band]:.10g}"
        imagery["FWHM_UM"] = f"{meta.fwhm[band] / 1e3:.10g}"
    if meta.bad_bands is not None:
        tags["bbl"] = str(int(not meta.bad_bands[band]))
    if meta.gain is not None:
        tags["gain"] = f"{meta.gain[band]:.10g}"
    if meta.offset is not None:
        tags["offset"] = f"{meta.offset[band]:.10g}"
    if meta.interpolated is not None:
        tags["interpolated"] = str(int(meta.interpolated[band]))
    return tags, imagery
