"""What a worker process does to extend a picture: a file in, a larger one out."""

from dataclasses import dataclass

from infilling.errors import InputError, collect_warnings
from infilling.filling.border import Border, plan_border
from infilling.filling.extend import extend_picture
from infilling.filling.pipeline import write_file
from infilling.filling.progress import watch
from infilling.filling.workers import Progress
from infilling.pictures.mask import Box
from infilling.serving.engines import OfferedEngine
from infilling.serving.fill_task import FillAnswer, FillRequest, read_pictures, stop_if_left
from infilling.serving.problems import explain_errors


@dataclass(frozen=True)
class ExtendRequest:
    """What a request asks for.

    Attributes:
        given: the picture, with what has been filled before, and the options.
        sides: what is added, as `plan_border` takes it.
    """

    given: FillRequest
    sides: dict[str, str | None]


def run_extend(
    progress: Progress, request: ExtendRequest, engine: OfferedEngine, threads: int, max_pixels: int
) -> FillAnswer:
    """Extend a picture; `box` of the answer is where the picture is in it.

    Args:
        progress: receives the share that is done.
        request: what is asked for.
        engine: what fills.
        threads: threads that the engine may use.
        max_pixels: largest picture, and largest result.

    Raises:
        Problem: the request cannot be carried out; the field at fault is named.
        Stopped: the caller has left.
    """
    options = request.given.options
    with collect_warnings() as warned, watch(stop_if_left(progress)):
        _, picture = read_pictures(request.given, max_pixels)
        with explain_errors(lambda error: error.field or "image"):
            border = plan_border(picture.width, picture.height, **request.sides)
            _bound(border, picture.width, picture.height, max_pixels)
            filled = extend_picture(picture, border, engine.open(threads), options)
            data, format = write_file(request.given.image, picture, filled, options)
    box = Box(border.left, border.top, picture.width, picture.height)
    return FillAnswer(data, format, box, tuple(dict.fromkeys(warned)))


def _bound(border: Border, width: int, height: int, max_pixels: int) -> None:
    """Refuse a result that is larger than pictures may be."""
    wide, high = width + border.left + border.right, height + border.top + border.bottom
    if wide * high > max_pixels:
        text = f"{wide}x{high} has more than the {max_pixels:,} pixels that this server takes"
        raise InputError(text, field="left")
