"""Errors that are the user's to mend.

Each message is one line: what was wrong, what was received, what to do next. The command line
prints it to stderr and exits with :attr:`EdgesrError.exit_code`; nothing else is caught there.
"""


class EdgesrError(Exception):
    """Base of every error that the user can mend."""

    exit_code = 2


class EdgesrWarning(UserWarning):
    """Something was left out or may not be what was meant; the result stands."""


class DataError(EdgesrError):
    """A cube, a scene or a file of data cannot be used."""


class ModelError(EdgesrError):
    """A network or its weights cannot be used."""


class OptionError(EdgesrError):
    """An option has a value outside its range, or two options contradict each other."""


def brief(error: BaseException) -> str:
    """The first line of an error, with its type where that says more."""
    lines = str(error).splitlines()
    text = lines[0].strip().rstrip(".") if lines else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def one_line(text: str) -> str:
    """A message as one line that a terminal only prints."""
    line = " ".join(text.split())
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def shown(value: object) -> str:
    """Text of anyone's, such as a path or a key, as one line that can be printed."""
    text = str(value)
    return text if text.isprintable() else repr(text)
