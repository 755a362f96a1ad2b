"""Options: fields that are described once and checked wherever they come from.

Nothing here imports torch or numpy: ``edgesr --help`` must answer at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_type_hints

from edgesr import stored
from edgesr.errors import OptionError
from edgesr.files import atomic_path


@dataclass(frozen=True)
class Check:
    """A range or set of values, with the words that name it in help and in errors."""

    words: str
    holds: Callable[[Any], bool]


POSITIVE = Check("an integer of at least 1", lambda value: value >= 1)
NOT_NEGATIVE = Check("a number of at least 0", lambda value: value >= 0)
ABOVE_ZERO = Check("a number above 0", lambda value: value > 0)
SHARE = Check("a number in (0, 1]", lambda value: 0 < value <= 1)
PART = Check("a number in [0, 1)", lambda value: 0 <= value < 1)
SCALE = Check("an integer of at least 2", lambda value: value >= 2)
SEED = Check("an integer from 0 to 2^63 - 1", lambda value: 0 <= value < 2**63)


def one_of(*choices: str) -> Check:
    """Check that a value is one of ``choices``."""
    return Check(f"one of {', '.join(choices)}", lambda value: value in choices)


def list_with(first: str, *others: str) -> Check:
    """Check that a value is a comma separated list of the words given, ``first`` among them."""
    return Check(
        f"a list of {', '.join((first, *others))} with {first} in it, such as {first},{others[-1]}",
        lambda value: first in (given := value.split(",")) and {*given} <= {first, *others},
    )


def option(
    default: Any, group: str, text: str, *, check: Check | None = None, metavar: str | None = None
) -> Any:
    """Describe one field of a recipe: its default, help group, help text and valid values."""
    return field(
        default=default,
        metadata={"group": group, "help": text, "check": check, "metavar": metavar},
    )


def field_type(recipe: type, name: str) -> type:
    """Return the plain type of a field: ``int`` for ``int | None``."""
    return _plain(get_type_hints(recipe)[name])


def _plain(hint: Any) -> type:
    if isinstance(hint, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    plain: type = hint
    return plain


@dataclass(frozen=True)
class Options:
    """A set of options: its fields are declared with :func:`option`, its values always valid."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value, check = getattr(self, item.name), item.metadata["check"]
            expected = _plain(hints[item.name])
            if value is None and item.default is None:
                continue
            if expected is float and isinstance(value, int) and not isinstance(value, bool):
                try:
                    object.__setattr__(self, item.name, value := float(value))
                except OverflowError:  # of a number without end, as Python has them
                    raise OptionError(f"{option_name(item.name)} is too large") from None
            if not isinstance(value, expected) or (
                isinstance(value, bool) and expected is not bool
            ):
                raise OptionError(
                    f"{option_name(item.name)} must be {_article(expected)}, not {value!r:.80}"
                )
            if isinstance(value, str) and "\0" in value:
                raise OptionError(f"{option_name(item.name)} must not hold a null character")
            if isinstance(value, float) and not math.isfinite(value):
                raise OptionError(f"{option_name(item.name)} must be finite, not {value!r}")
            if check is not None and not check.holds(value):
                raise OptionError(
                    f"{option_name(item.name)} must be {check.words}, not {value!r:.80}"
                )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build a recipe from plain values.

        Raises:
            OptionError: a key that this recipe does not have, or a value outside its range.
        """
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise OptionError(
                f"the recipe has unknown keys {_listed(unknown)}; known are"
                f" {', '.join(sorted(known))}"
            )
        return cls(**values)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recipe that :meth:`save` wrote.

        Raises:
            OptionError: the file is missing, is no TOML, or holds unknown keys or values.
        """
        return cls.from_mapping(read_toml(path))

    def save(self, path: Path) -> None:
        """Write the recipe as TOML, a section for each group of options; unset keys stay out."""
        import tomli_w

        sections: dict[str, dict[str, Any]] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                sections.setdefault(item.metadata["group"].lower(), {})[item.name] = value
        with atomic_path(path) as temporary:
            temporary.write_text(tomli_w.dumps(sections))

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe's values by name."""
        return asdict(self)


def read_toml(path: Path) -> dict[str, Any]:
    """Read the flat keys of a sectioned recipe file.

    Raises:
        OptionError: the file is missing or no TOML.
    """
    values: dict[str, Any] = {}
    for key, value in stored.read_toml(path, "the recipe", OptionError).items():
        values.update(value if isinstance(value, dict) else {key: value})
    return values


def option_name(name: str) -> str:
    """Spell a field as the command line does: ``rank_target`` becomes ``--rank-target``."""
    return "--" + name.replace("_", "-")


def _listed(keys: Sequence[str], limit: int = 8) -> str:
    """Keys of anyone as one line: as they are, where that is what it takes."""
    named = [(key if key.isidentifier() else repr(key))[:40] for key in keys[:limit]]
    return ", ".join([*named, *(["..."] if len(keys) > limit else [])])


def _article(kind: type) -> str:
    return {int: "an integer", float: "a number", str: "a text", bool: "true or false"}[kind]
