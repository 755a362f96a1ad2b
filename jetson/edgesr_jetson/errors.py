"""The one error of the desktop side."""


class BundleError(Exception):
    """A bundle cannot be made; the message is one line that says what to do."""

    exit_code = 2
