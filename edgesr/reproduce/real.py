"""The papers' experiments in small, on cubes that can be had.

Everything that the published runs have and these have not is in :data:`SETTINGS`, which the
results file repeats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgesr.reproduce.experiment import Experiment, Row
from edgesr.reproduce.trial import BICUBIC, SceneSpec, Surgery, Trial

NAME = "real"
BANDS, CHANNELS, SCALE, PATCH = 32, 48, 4, 32
BLOCKS, TEACHER_BLOCKS = 4, 8
GROUPS = (2, 4, 8, 16)
PAPER_GROUPS = 8

TRAINING = {
    "epochs": 30,
    "steps_per_epoch": 6,
    "batch": 4,
    "learning_rate": 2e-3,
    "final_learning_rate": 2e-4,
    "warmup_steps": 6,
}
DISTILLED = {"alpha": 0.01, "decay": 0.66, "decay_every": 1}
SHORT = {
    "epochs": 10,
    "steps_per_epoch": 5,
    "batch": 4,
    "learning_rate": 5e-4,
    "final_learning_rate": 5e-5,
}
DACN_TRAINING = {
    "epochs": 30,
    "steps_per_epoch": 8,
    "batch": 4,
    "loss": "dacn",
    "learning_rate": 2e-3,
    "final_learning_rate": 2e-4,
}
DACN_WIDTH, DACN_BANDS, DACN_CUBES = 8, 48, 2

SETTINGS = {
    "scale": SCALE,
    "bands": f"{BANDS} (DACN: {DACN_BANDS}) of the clean bands, evenly spaced",
    "normalisation": "every band from its 0.1 to its 99.9 percentile of the training pixels",
    "split": "auto: top third tested; below it, edges for tuning (chooses the epoch) and budget",
    "patch": PATCH,
    "lkca_net": f"{CHANNELS} channels, {BLOCKS} blocks, teacher {TEACHER_BLOCKS} blocks",
    "training": TRAINING,
    "distillation": DISTILLED,
    "after_surgery": SHORT,
    "dacn": f"first block of {DACN_WIDTH} channels instead of 32, LR by area averaging;"
    f" on the first {DACN_CUBES} cubes",
    "dacn_training": DACN_TRAINING,
}


ORIGINAL, TRAINED_ON = "original", "original, trained on"
"""Rows of the surgery tables: the network before, and without surgery but with as much training."""


def setting_name(method: str, groups: int) -> str:
    """Label of a surgery: ``g = 8``, or the rank with as many weights, ``R = 29``."""
    return f"g = {groups}" if method == "grouped" else f"R = {equal_rank(groups)}"


def equal_rank(groups: int) -> int:
    """Rank at which two factors have as many weights as g groups, at most."""
    window, outputs = 9 * CHANNELS, BANDS * SCALE**2
    return window * outputs // groups // (window + outputs)


@dataclass(frozen=True)
class _Family:
    """The trials of one cube and one seed."""

    cube: str
    seed: int

    @property
    def scene(self) -> SceneSpec:
        return SceneSpec(
            self.cube, scale=SCALE, patch=PATCH, bands=f"spread:{BANDS}", normalisation="band"
        )

    def bicubic(self) -> Trial:
        return Trial(self.scene, BICUBIC)

    def lkca(self, blocks: int = BLOCKS, groups: int = 1) -> Trial:
        config = {"blocks": blocks, "channels": CHANNELS, "groups": groups}
        return Trial(self.scene, "lkca_net", config, TRAINING, self.seed)

    def closed(self, method: str, groups: int) -> Trial:
        """Surgery on the plain network; low rank with as many weights as that many groups."""
        setting = groups if method == "grouped" else equal_rank(groups)
        source = self.lkca()
        return Trial(
            self.scene, "lkca_net", seed=self.seed, source=source, surgery=Surgery(method, setting)
        )

    def tuned(self, trial: Trial) -> Trial:
        return trial.but(training=SHORT)

    def distilled(self, trial: Trial) -> Trial:
        """From the deeper teacher."""
        return trial.but(training={**SHORT, **DISTILLED}, teacher=self.lkca(TEACHER_BLOCKS))

    def kd(self, **changes: Any) -> Trial:
        """LKCA-KD: g = 8 from random weights, distilled from the deeper teacher."""
        plain = self.lkca(groups=PAPER_GROUPS)
        return plain.but(training={**DISTILLED, **changes}, teacher=self.lkca(TEACHER_BLOCKS))

    @property
    def dacn_scene(self) -> SceneSpec:
        return replace(self.scene, bands=f"spread:{DACN_BANDS}", degradation="area")

    def dacn(self, loss: str = "dacn", **config: Any) -> Trial:
        config = {"width": DACN_WIDTH, **config}
        training = {**DACN_TRAINING, "loss": loss}
        return Trial(self.dacn_scene, "dacn", config, training, self.seed)


VariantBuilder = Callable[[_Family], Trial]


def experiments(cubes: Sequence[str], seeds: Iterable[int]) -> list[Experiment]:
    """Return every experiment on every cube, each row with a trial for every seed."""
    seeds = tuple(seeds)

    def table(
        name: str,
        title: str,
        makers: dict[str, VariantBuilder],
        baseline: str = "",
        cubes: Sequence[str] = cubes,
    ) -> Experiment:
        rows = tuple(
            Row(label, cube, SCALE, _distinct(builder(_Family(cube, seed)) for seed in seeds))
            for cube in cubes
            for label, builder in makers.items()
        )
        return Experiment(name, title, rows, baseline=baseline)

    original: dict[str, VariantBuilder] = {ORIGINAL: lambda f: f.lkca()}
    surgeries, tuned = dict(original), {**original, TRAINED_ON: lambda f: f.tuned(_again(f))}
    for groups in GROUPS:
        for method in ("grouped", "lowrank"):
            label = setting_name(method, groups)
            made = _bound(method, groups)
            surgeries[f"{label}, closed form"] = made
            if groups == PAPER_GROUPS:
                tuned[f"{label}, trained on"] = _then(made, _Family.tuned)
            tuned[f"{label}, distilled"] = _then(made, _Family.distilled)
    return [
        table(
            "blocks",
            "Number of blocks (LKCA-Net, Table I)",
            {
                "bicubic": lambda f: f.bicubic(),
                **{f"{n} blocks": _deep(n) for n in (2, BLOCKS, TEACHER_BLOCKS, 16)},
            },
        ),
        table(
            "surgery",
            "Groups against low rank at equal parameters, closed form",
            surgeries,
            ORIGINAL,
        ),
        table("after-surgery", "The same, then trained alone or distilled", tuned, ORIGINAL),
        table(
            "distillation",
            "Grouped from random weights, without and with a teacher (Tables V to VII)",
            {
                "LKCA-Net": lambda f: f.lkca(),
                "LKCA-LR": lambda f: f.lkca(groups=PAPER_GROUPS),
                "LKCA-KD": lambda f: f.kd(),
            },
        ),
        table(
            "decay",
            "Decay d of distillation (LKCA-Net, Table II)",
            {f"d = {d:g}": _kd(decay=d) for d in (1.0, 0.75, 0.66, 0.5)},
        ),
        table(
            "alpha",
            "Weight alpha of distillation (LKCA-Net, Table III)",
            {f"alpha = {a:g}": _kd(alpha=a) for a in (1.0, 0.1, 0.05, 0.01, 0.005)},
        ),
        table(
            "terms",
            "Terms of the distillation loss (LKCA-Net, Table IV)",
            {"SAM + grad + cos": _kd(), "SAM + grad": _kd(kd_cos=0.0)},
        ),
        table(
            "dacn",
            "Parts and group size of DACN (DACN, Table I)",
            {
                "bicubic": lambda f: Trial(f.dacn_scene, BICUBIC),
                "group size 32": lambda f: f.dacn(),
                "without band grouping": lambda f: f.dacn(group_bands=DACN_BANDS, overlap=0),
                "group size 16": lambda f: f.dacn(group_bands=16, overlap=4),
                "without multi-head attention": lambda f: f.dacn(attention=False),
                "without channel attention": lambda f: f.dacn(channel_attention=False),
                "without custom loss": lambda f: f.dacn(loss="mse"),
            },
            cubes=cubes[:DACN_CUBES],
        ),
    ]


def by_seed(tables: Sequence[Experiment], cubes: Sequence[str]) -> list[Trial]:
    """Return all trials, seed by seed and cube by cube, so that a first seed is whole early."""
    seeds = max(len(row.trials) for table in tables for row in table.rows)
    return [
        row.trials[index]
        for index in range(seeds)
        for cube in cubes
        for table in tables
        for row in table.rows
        if row.cube == cube and index < len(row.trials)
    ]


def _distinct(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """Each trial once: bicubic is the same for every seed."""
    return tuple({trial.key: trial for trial in trials}.values())


def _again(family: _Family) -> Trial:
    return Trial(family.scene, "lkca_net", seed=family.seed, source=family.lkca())


def _bound(method: str, groups: int) -> VariantBuilder:
    return lambda family: family.closed(method, groups)


def _then(builder: VariantBuilder, step: Callable[[_Family, Trial], Trial]) -> VariantBuilder:
    return lambda family: step(family, builder(family))


def _deep(blocks: int) -> VariantBuilder:
    return lambda family: family.lkca(blocks)


def _kd(**changes: Any) -> VariantBuilder:
    return lambda family: family.kd(**changes)
