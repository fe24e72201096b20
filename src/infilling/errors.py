"""One tree of errors. Each class carries the exit code that the command line returns for it."""


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
