"""Errors with their exit codes, warnings that travel with a result, and help for misspelled names."""

import json
import math
import reprlib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args


class InfillingError(Exception):
    """Anything that this package refuses or fails to do, in one line for the person who asked."""

    exit_code = 1


class InputError(InfillingError):
    """A picture, mask or option that cannot be used.

    Attributes:
        field: the option at fault, by its name in `FillOptions`; None if it is another thing.
    """

    exit_code = 3

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class TooLargeError(InputError):
    """A picture with more pixels, or that decodes to more bytes, than is allowed."""


class ModelError(InfillingError):
    """A model file, checkpoint or engine that cannot be used."""

    exit_code = 4


class SlowModelError(ModelError):
    """A network that was not open, or had not filled a plain picture, at its deadline."""


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


SHOWN = 60  # most characters of a value in a message
_SHORT = reprlib.Repr()
_SHORT.maxlist = _SHORT.maxtuple = 8
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 2 * SHOWN


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


def count_things(count: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is 1.

    >>> count_things(1, "system"), count_things(2_000, "row")
    ('1 system', '2,000 rows')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def describe_error(error: BaseException) -> str:
    r"""Return in one line what an exception says: the system's words, else its message, else its type.

    >>> describe_error(FileNotFoundError(2, "No such file", "a.png")), describe_error(KeyError())
    ('No such file', 'KeyError')
    >>> describe_error(ValueError("first line\n  second line"))
    'first line second line'
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def describe_briefly(error: BaseException) -> str:
    """Return the first line of what an exception says, for libraries that write pages; else its type."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]


def show_value(value: object) -> str:
    """Return a value as messages quote it: in one line, and short, however large or deep it is.

    >>> show_value([1, 2])
    '[1, 2]'
    >>> show_value(10**5000)  # Python writes no such number
    'of type int'
    """
    try:
        text = " ".join(_SHORT.repr(value).split())
    except Exception:  # the caller's own class may raise anything
        return f"of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def check_argument(name: str, value: object, kinds: Any, wanted: str) -> None:
    """Refuse a value of another type; True and False are no numbers.

    Args:
        name: of the argument.
        value: what was given.
        kinds: a type or several, as `isinstance` takes them.
        wanted: what to give instead, with its article.

    Raises:
        InputError: the message names the argument and its value.

    >>> check_argument("count", 3, int, "a whole number")
    """
    if not isinstance(value, kinds) or (isinstance(value, bool) and not _takes_bool(kinds)):
        raise InputError(f"{name} {show_value(value)} cannot be used: give {wanted}")


def check_count(
    name: str, value: object, low: int = 1, high: int | None = None, *, optional: bool = False
) -> None:
    """Refuse what is no whole number in a range.

    Args:
        name: of the argument.
        value: what was given.
        low: smallest number.
        high: largest number; None for no limit.
        optional: take None too.

    Raises:
        InputError: the message names the argument and its value.

    >>> check_count("threads", 3)
    """
    if optional and value is None:
        return
    wanted = f"a whole number, {low} or more" if high is None else f"a whole number, {low} to {high:,}"
    check_argument(name, value, Integral, wanted)
    number = int(value)  # type: ignore[call-overload]
    if number < low or (high is not None and number > high):
        raise InputError(f"{name} {show_value(value)} cannot be used: give {wanted}")


def check_number(name: str, value: object, low: float, high: float) -> None:
    """Refuse what is no number in a range.

    Args:
        name: of the argument.
        value: what was given.
        low: smallest number.
        high: largest number.

    Raises:
        InputError: the message names the argument and its value.

    >>> check_number("tolerance", 0.5, 0, 255)
    """
    wanted = f"a number, {low:g} to {high:g}"
    check_argument(name, value, Real, wanted)
    try:
        number = float(value)  # type: ignore[arg-type]
    except OverflowError:
        number = math.inf
    if not low <= number <= high:
        raise InputError(f"{name} {show_value(value)} cannot be used: give {wanted}")


def _takes_bool(kinds: Any) -> bool:
    """Whether True and False are among what is asked for by name, not only as numbers."""
    return bool in (get_args(kinds) or (kinds,))


def is_no_list(value: Any) -> bool:
    """Return whether a value that can be gone through is a text, a file or a dictionary."""
    return isinstance(value, str | bytes | bytearray | memoryview | dict) or hasattr(value, "read")


class InfillingWarning(UserWarning):
    """Something that the person who asked should know, and that stops nothing."""


class Advice(str):
    """A warning that a surface can say in its own words.

    Attributes:
        code: which one: `tight-mask`, `large-hole`, `mostly-hole` or `far-border`.
        values: its numbers by name, such as the pixels of `grow` that would take in the rim.
    """

    code: str = ""
    values: Mapping[str, int] = {}

    @classmethod
    def make(cls, code: str, text: str, **values: int) -> "Advice":
        """Make the warning of a code, whose sentence is `text`."""
        advice = cls(text)
        advice.code, advice.values = code, values
        return advice


_COLLECTED: ContextVar[list[str] | None] = ContextVar("collected", default=None)


def warn(text: str) -> None:
    """Report a fact that the person who asked should know, such as metadata that were removed.

    It goes into the result of the fill that is under way in this thread, and so to every surface; outside of
    one it is a Python warning. Of several with one code, the first counts.
    """
    collected = _COLLECTED.get()
    if collected is None:
        warnings.warn(text, InfillingWarning, stacklevel=2)
    elif _find_code(text) not in map(_find_code, collected):
        collected.append(text)


def _find_code(text: str) -> str:
    """Return the code of a warning; its text, if it has none."""
    return text.code if isinstance(text, Advice) else text


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect what `warn` reports in this thread; inside another collector, this one gets it.

    Example:
        >>> with collect_warnings() as collected:
        ...     warn("the mask marks nothing")
        >>> collected
        ['the mask marks nothing']
    """
    collected: list[str] = []
    token = _COLLECTED.set(collected)
    try:
        yield collected
    finally:
        _COLLECTED.reset(token)


def install_hint(extra: str) -> str:
    """Return the command that installs an extra of this package.

    It names the place that the package itself was installed from, or else the packages of the extra: this
    package is on no index.
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        found = distribution("infilling")
    except PackageNotFoundError:  # run from a checkout
        return f"pip install '{Path(__file__).resolve().parents[2]}[{extra}]'"
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    url = str(origin.get("url", ""))
    if "vcs_info" in origin:
        return f"pip install 'infilling[{extra}] @ {origin['vcs_info']['vcs']}+{url}'"
    if url.startswith("file:") and (path := _to_path(url)).exists():
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {editable}'{path}[{extra}]'"
    packages = []
    for text in found.requires or []:
        package, _, condition = text.replace("'", '"').partition(";")
        if f'extra == "{extra}"' in condition:
            packages.append(f"'{package.strip()}'")
    return f"pip install {' '.join(packages)}"


def _to_path(url: str) -> Path:
    """Return the path that a file: URL stands for."""
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    return Path(url2pathname(urlsplit(url).path))
