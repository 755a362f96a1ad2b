"""Options that would be ignored beside others, or without them: they are refused.

A rule looks at what stands on the command line. A recipe file says every option, used or not.
``--overwrite`` is no more than a permission, so it may stand where nothing has to be replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgesr_export.targets import find_target

from edgesr.cli.parser import given_options
from edgesr.errors import OptionError
from edgesr.recipe.options import Options, option_name
from edgesr.recipe.recipes import DEFAULT_MODEL, PAPERS_DISTIL, CompressRecipe, TrainRecipe


@dataclass(frozen=True)
class Rule:
    """Options that nothing looks at in some runs.

    Attributes:
        names: of the options.
        ignored: whether a run with this recipe is one of those.
        why: the rest of the line that begins with the options.
    """

    names: Sequence[str]
    ignored: Callable[[Any], bool]
    why: str


def refuse(given: Iterable[str], why: str) -> None:
    """Refuse the options in ``given``, if there are any; what has no name is in capitals.

    Raises:
        OptionError: there are; the line says which, ``why`` and what to do.
    """
    names = " and ".join(name if name.isupper() else option_name(name) for name in given)
    if names:
        raise OptionError(f"{names}: {why}; leave that out")


def stated(options: argparse.Namespace, *names: str) -> list[str]:
    """Those of ``names`` that stand on the command line; their default is None, False or empty."""
    values = {name: getattr(options, name) for name in names}
    return [
        name
        for name, value in values.items()
        if not (value is None or value is False or value == [])
    ]


def refuse_unused(recipe: Options, options: argparse.Namespace) -> None:
    """Refuse what stands on the command line and would be ignored with such a recipe.

    Raises:
        OptionError: there is such an option.
    """
    kind = type(recipe)
    given = given_options(kind, options)
    for rule in RULES.get(kind, ()):
        if rule.ignored(recipe):
            refuse([name for name in rule.names if name in given], rule.why)


def refuse_device(options: argparse.Namespace) -> None:
    """Refuse another device than the CPU where nothing is trained.

    Raises:
        OptionError: another is asked for.
    """
    if getattr(options, "device", "cpu").partition(":")[0] != "cpu":
        refuse(["device"], "only for training, and this command computes on the CPU")


def _trains(recipe: CompressRecipe) -> bool:
    return recipe.student_epochs > 0 and (recipe.method != "none" or recipe.qat)


def _has_engines(recipe: CompressRecipe) -> bool:
    targets = [find_target(name) for name in recipe.targets]
    return any(target.engines or target.bundled for target in targets)


def _compares_features(recipe: CompressRecipe) -> bool:
    from edgesr.distill.registry import DISTILLATIONS

    known = DISTILLATIONS.load()
    used = [recipe.distil, *([PAPERS_DISTIL] if recipe.baseline_groups else [])]
    return any(name not in known or known[name].features for name in used)


TRAINING = ("steps_per_epoch", "learning_rate", "amp", "distil", "patience", "teacher")
FEATURES = ("alpha", "decay", "decay_every")
NETWORK = ("blocks", "groups", "drop_path", "variant")

RULES: dict[type, tuple[Rule, ...]] = {
    CompressRecipe: (
        Rule(
            ("trials", "runtime"),
            lambda recipe: not recipe.searches,
            "only for a search, which --search or a limit on cost asks for",
        ),
        Rule(
            ("exact_target", "rank_criterion"),
            lambda recipe: bool(recipe.settings),
            "--groups and --rank ask for one setting, whatever the spectrum says",
        ),
        Rule(
            ("rank_criterion", "init", "baseline_groups"),
            lambda recipe: recipe.method == "none",
            "--method none replaces nothing",
        ),
        Rule(
            (*TRAINING, *FEATURES, "batch"),
            lambda recipe: not _trains(recipe),
            "nothing is trained with --epochs 0, nor by --method none without --qat",
        ),
        Rule(
            ("epochs",),
            lambda recipe: recipe.epochs != 0 and not _trains(recipe),
            "--method none trains nothing without --qat",
        ),
        Rule(
            FEATURES,
            lambda recipe: not _compares_features(recipe),
            "only for a distillation that compares features, such as --distil paper",
        ),
        Rule(
            ("qat",),
            lambda recipe: "int8" not in recipe.precisions,
            "only for int8, which is not among --precisions",
        ),
        Rule(
            ("compute_capability", "tile_range"),
            lambda recipe: not _has_engines(recipe),
            "only for engines, and none of --targets has any",
        ),
    ),
    TrainRecipe: (
        Rule(
            ("blocks", "groups", "drop_path"),
            lambda recipe: recipe.model != DEFAULT_MODEL,
            f"only for --model {DEFAULT_MODEL}",
        ),
        Rule(("variant",), lambda recipe: recipe.model != "dacn", "only for --model dacn"),
        Rule(
            NETWORK,
            lambda recipe: recipe.initial is not None,
            "the weights of --initial say what their network is",
        ),
        Rule(
            ("mix", "focus"),
            lambda recipe: not recipe.extra,
            "only for more cubes, and --extra names none",
        ),
    ),
}
"""By the kind of recipe."""
