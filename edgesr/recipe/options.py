"""Options: fields that are described once and checked wherever they come from.

Nothing here imports torch or numpy: ``edgesr --help`` must answer at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from edgesr import stored
from edgesr.errors import OptionError
from edgesr.files import atomic_path


@dataclass(frozen=True)
class Check:
    """A range or set of values, with the words that name it in help and in errors.

    Attributes:
        said: the words, or what finds them when they are asked for: what is registered can grow.
        holds: whether a value is within.
    """

    said: str | Callable[[], str]
    holds: Callable[[Any], bool]

    @property
    def words(self) -> str:
        """What the value must be."""
        return self.said if isinstance(self.said, str) else self.said()


def whole(least: int, most: int) -> Check:
    """Check that an integer lies in a range; both ends belong to it."""
    return Check(f"an integer from {least} to {most}", lambda value: least <= value <= most)


COUNT, COUNT_OR_NONE = whole(1, 10**6), whole(0, 10**6)
THREADS = whole(1, 1024)
SIDE = whole(1, 1 << 16)
TILE = whole(1, 4096)
BATCH = whole(1, 1 << 16)
SCALE = whole(2, 64)
CHANNELS, SEVERAL = whole(1, 1 << 16), whole(2, 1 << 16)
NOT_NEGATIVE = Check("a number of at least 0", lambda value: 0 <= value < math.inf)
ABOVE_ZERO = Check("a number above 0", lambda value: 0 < value < math.inf)
WEIGHT = Check("a number from 0 to 1e6", lambda value: 0 <= value <= 1e6)
SHARE = Check("a number in (0, 1]", lambda value: 0 < value <= 1)
PER_CENT = Check("a number in [0, 100)", lambda value: 0 <= value < 100)
PART = Check("a number in [0, 1)", lambda value: 0 <= value < 1)
SEED = Check("an integer from 0 to 2^63 - 1", lambda value: 0 <= value < 2**63)


def require(name: str, value: Any, check: Check) -> None:
    """Refuse a value of ``--name`` that is not as the check has it; None is not asked for.

    Raises:
        OptionError: it is another.
    """
    if value is not None and not check.holds(value):
        raise OptionError(f"{option_name(name)} must be {check.words}, not {as_text(value)!r:.80}")


def one_of(*choices: str) -> Check:
    """Check that a value is one of ``choices``."""
    return Check(f"one of {', '.join(choices)}", lambda value: value in choices)


def registered(names: Callable[[], Collection[str]]) -> Check:
    """Check that a value is one of the names that are there when it is checked."""
    return Check(lambda: f"one of {', '.join(names())}", lambda value: value in names())


def list_with(first: str, names: Callable[[], Collection[str]]) -> Check:
    """Check that a value holds only names that are there when it is checked, among them ``first``.

    The first is there always.
    """

    def words() -> str:
        known = list(names())
        return f"a list of {', '.join(known)} with {first} in it, such as {first},{known[-1]}"

    return Check(words, lambda value: first in value and {*value} <= {*names()})


def option(
    default: Any, group: str, text: str, *, check: Check | None = None, metavar: str | None = None
) -> Any:
    """Describe one field of a recipe: its default, help group, help text and valid values.

    A default that is a function is asked when it is needed. In the text, ``{names}`` stands for
    the words of the check.
    """
    metadata = {"group": group, "help": text, "check": check, "metavar": metavar}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(item: Field[Any]) -> Any:
    """Return the value of a field that nobody sets."""
    return item.default if item.default_factory is MISSING else item.default_factory()


def help_of(item: Field[Any]) -> str:
    """Return the help text of a field, with what is registered now and the default."""
    check, default = item.metadata["check"], default_of(item)
    text: str = item.metadata["help"]
    if check is not None:
        text = text.replace("{names}", check.words)
    if default in (None, "", ()) or default is False:
        return text
    return f"{text} (default: {as_text(default)})"


def as_text(value: Any) -> Any:
    """Return a list as the command line spells it, anything else as it is."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else value


def field_type(recipe: type, name: str) -> type:
    """Return the plain type of a field: ``int`` for ``int | None``, ``tuple`` for a list."""
    return _types(recipe)[name]


@cache
def _types(recipe: type) -> dict[str, type]:
    return {name: _plain(hint) for name, hint in get_type_hints(recipe).items()}


def _plain(hint: Any) -> type:
    if isinstance(hint, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    plain: type = get_origin(hint) or hint
    return plain


@dataclass(frozen=True)
class Options:
    """A set of options: its fields are declared with :func:`option`, its values always valid.

    A list is a tuple of texts; a list of TOML and a text with commas are taken for one.
    """

    def __post_init__(self) -> None:
        types = _types(type(self))  # type: ignore[arg-type]
        for item in fields(self):
            value, check = getattr(self, item.name), item.metadata["check"]
            expected = types[item.name]
            if value is None and item.default is None:
                continue
            if expected is float and isinstance(value, int) and not isinstance(value, bool):
                try:
                    object.__setattr__(self, item.name, value := float(value))
                except OverflowError:  # of a number without end, as Python has them
                    raise OptionError(f"{option_name(item.name)} is too large") from None
            if expected is tuple:
                object.__setattr__(self, item.name, value := _as_tuple(value))
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
            if check is not None:
                require(item.name, value, check)

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
        """Return the recipe's values by name, as JSON has them."""
        values = asdict(self).items()
        return {key: list(one) if isinstance(one, tuple) else one for key, one in values}


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


def _as_tuple(value: Any) -> Any:
    """The list that a value stands for; the value itself where it stands for none."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return tuple(value)
    return list(value) if isinstance(value, tuple) else value


def _article(kind: type) -> str:
    words = {int: "an integer", float: "a number", str: "a text", bool: "true or false"}
    return {**words, tuple: "a list of texts"}[kind]
