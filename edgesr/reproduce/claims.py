"""What the papers claim, as comparisons that the results on other cubes decide."""

from __future__ import annotations

from dataclasses import dataclass

from edgesr.reproduce.figures import Comparison, Content, compare
from edgesr.reproduce.grid import Grid
from edgesr.reproduce.real import GROUPS, ORIGINAL, TRAINED_ON, setting_name

UNITS = {"mpsnr": "dB", "sam": "deg"}
SIGNS = {"holds": "✓", "contrary": "✗", "no difference": "="}


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``worse``, two rows of an experiment, by each of ``metrics``."""

    text: str
    experiment: str
    better: str
    worse: str
    metrics: tuple[str, ...] = ("mpsnr", "sam")


def _surgery_claims() -> list[Claim]:
    found = []
    for groups in GROUPS:
        grouped, lowrank = setting_name("grouped", groups), setting_name("lowrank", groups)
        text = f"low rank {lowrank} beats {grouped} at equal parameters"
        found += [
            Claim(
                f"{text}, closed form",
                "surgery",
                f"{lowrank}, closed form",
                f"{grouped}, closed form",
            ),
            Claim(
                f"{text}, distilled",
                "after-surgery",
                f"{lowrank}, distilled",
                f"{grouped}, distilled",
            ),
        ]
    return sorted(found, key=lambda claim: claim.experiment != "surgery")


def _tuning_claims() -> list[Claim]:
    found = [Claim("training on improves the original", "after-surgery", TRAINED_ON, ORIGINAL)]
    for method in ("grouped", "lowrank"):
        name = setting_name(method, 8)
        found.append(
            Claim(
                f"after surgery with {name}, distilling beats training alone",
                "after-surgery",
                f"{name}, distilled",
                f"{name}, trained on",
            )
        )
    return found


_DACN = "group size 32"

SECTIONS: dict[str, list[Claim]] = {
    "LKCA-Net: depth": [
        Claim(f"{more} blocks beat {fewer}", "blocks", f"{more} blocks", f"{fewer} blocks")
        for fewer, more in ((2, 4), (4, 8), (8, 16))
    ],
    "LKCA-Net: groups and distillation": [
        Claim("the full upsampler beats g = 8", "distillation", "LKCA-Net", "LKCA-LR"),
        Claim("distillation improves g = 8", "distillation", "LKCA-KD", "LKCA-LR"),
        *(
            Claim(f"d = 0.66 beats d = {d:g}", "decay", "d = 0.66", f"d = {d:g}")
            for d in (1.0, 0.75, 0.5)
        ),
        *(
            Claim(f"alpha = 0.01 beats {a:g}", "alpha", "alpha = 0.01", f"alpha = {a:g}")
            for a in (1.0, 0.1, 0.05, 0.005)
        ),
        Claim("the cosine term helps", "terms", "SAM + grad + cos", "SAM + grad"),
    ],
    "Low rank instead of groups (edgesr's own)": _surgery_claims() + _tuning_claims(),
    "DACN": [
        Claim(text, "dacn", _DACN, row, ("mpsnr",))
        for text, row in (
            ("band groups of 32 beat none", "without band grouping"),
            ("groups of 32 beat groups of 16", "group size 16"),
            ("multi-head attention helps", "without multi-head attention"),
            ("channel attention helps", "without channel attention"),
            ("the custom loss helps", "without custom loss"),
        )
    ],
}


def claims_grid(content: Content, section: str, cubes: list[str]) -> Grid:
    """Decide the claims of a section: a row for each claim and metric, a column for each cube."""
    rows = []
    for claim in SECTIONS[section]:
        for metric in claim.metrics:
            found = [
                compare(content, claim.experiment, claim.better, claim.worse, cube, metric)
                for cube in cubes
            ]
            if any(found):
                cells = [_cell(one) for one in found]
                rows.append((claim.text, UNITS[metric], *cells, summary(found)))
    return Grid(("claim", "by", *cubes, "verdict"), tuple(rows), section)


def summary(found: list[Comparison | None]) -> str:
    """One verdict over the cubes."""
    verdicts = [one.verdict for one in found if one is not None]
    for verdict in ("holds", "no difference", "contrary"):
        if all(each == verdict for each in verdicts):
            return verdict
    parts = []
    for verdict in ("holds", "no difference", "contrary"):
        if count := verdicts.count(verdict):
            parts.append(f"{verdict} on {count}")
    return ", ".join(parts)


def _cell(one: Comparison | None) -> str:
    if one is None:
        return "-"
    return f"{one.gain:+.3f} ({one.spread:.3f}) {SIGNS[one.verdict]}"
