"""The tree of errors, each class with the exit code of the command line, and help for misspelled names."""

from collections.abc import Iterable


class InfillingError(Exception):
    """Anything this package refuses or fails to do, said in one line for the person who asked."""

    exit_code = 1


class InputError(InfillingError):
    """A picture, mask or option that cannot be used."""

    exit_code = 3


class ModelError(InfillingError):
    """A model file, checkpoint or engine that cannot be used."""

    exit_code = 4


class DataError(InfillingError):
    """A folder, shard or data set that cannot be trained on or judged with."""

    exit_code = 5


class ConfigError(InfillingError):
    """A configuration that cannot be read or does not fit together."""

    exit_code = 6


class DependencyError(InfillingError):
    """An optional package is missing; the message says what to install."""

    exit_code = 7


class StorageError(InfillingError):
    """A file could not be written: disk full, permission denied, folder missing."""

    exit_code = 8


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that refuses an unknown name.

    Args:
        name: what was given.
        known: the names that are possible.

    Returns:
        The names that look like it, else all that are possible; "" if there are none.

    Example:
        >>> f"unknown engine 'tela'{did_you_mean('tela', ['mean', 'telea'])}"
        "unknown engine 'tela'; did you mean telea?"
        >>> did_you_mean("x", ["mean", "telea"])
        '; choose from mean, telea'
    """
    from difflib import get_close_matches

    names = list(known)
    if near := get_close_matches(name, names, n=3):
        return f"; did you mean {' or '.join(near)}?"
    return f"; choose from {', '.join(names)}" if names else ""
