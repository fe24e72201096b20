"""Masks of what is found in a picture: the routes."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, create_model

from infilling.errors import InputError, did_you_mean
from infilling.filling.finders import Finder
from infilling.filling.mask_helpers import POINT, PointsOption
from infilling.filling.options import Option
from infilling.filling.values import parse_box
from infilling.serving import problems
from infilling.serving.fill_task import FillRequest
from infilling.serving.find_task import FINDERS, list_fields
from infilling.serving.forms import FileTable, read_form
from infilling.serving.native import (
    PICTURE_PROBLEMS,
    BoxText,
    IdText,
    PictureFields,
    respond,
    take_image,
    take_patches,
)
from infilling.serving.openapi import BINARY, form_body
from infilling.serving.problems import Problem
from infilling.serving.service import Service, Shared

MOST_POINTS = 1000
MOST_OTHERS = 50

Helper = Annotated[str, Path(max_length=80, json_schema_extra={"enum": list(FINDERS)})]
PointText = Annotated[str, Field(pattern=f"^{POINT}$", examples=["120,80"])]
MASK = {"description": "The mask: white is what was found.", "content": {"image/png": {"schema": BINARY}}}


class FindBase(PictureFields):
    """The picture, and where to look in it."""

    box: BoxText | None = Field(None, description="Look only there, in pixels: left, top, width, height.")
    grow: int | None = Field(None, ge=0, le=500, description="Pixels to widen the mask by.")
    other_id: tuple[IdText, ...] = Field(
        (), max_length=MOST_OTHERS, description="Pictures by `image_id`, compared after those of `other`."
    )
    box_only: bool = Field(
        False, description="Answer with the box round what was found; see `X-Infilling-Box`."
    )


def _make_field(option: Option) -> tuple[Any, Any]:
    """Return an option of a helper as a field: its type, and what OpenAPI says about it."""
    names = []
    for name, helper in FINDERS.items():
        if option.key in [each.key for each in helper.options]:
            names.append(name)
    text = f"For {', '.join(names)}. {option.help}"
    if isinstance(option, PointsOption):
        return tuple[PointText, ...], Field((), max_length=MOST_POINTS, description=text)
    return option.kind | None, Field(None, ge=option.low, le=option.high, description=text)


_FIELDS: dict[str, Any] = {key: _make_field(option) for key, option in list_fields().items()}
FindFields: type[FindBase] = create_model(
    "FindFields", __base__=FindBase, __doc__="The picture, where to look in it, and for what.", **_FIELDS
)


router = APIRouter(tags=["masks"])


@router.post(
    "/api/v1/mask/{helper}",
    summary="Find something in a picture, as a mask",
    response_class=Response,
    responses={200: MASK, **problems.describe(*PICTURE_PROBLEMS)},
    openapi_extra=form_body(FindFields, required=(), optional=("image",), lists=("patch", "other")),
)
async def find(request: Request, helper: Helper, service: Shared) -> Response:
    """Return a mask of the picture's size, as a PNG; all black if nothing was found.

    Those that compare pictures of one size, such as `watermark`, take the further ones as `other`.
    With `box_only` only the box round what was found comes, or one black pixel. What can be found is what
    the commands of `infill mask` find.
    """
    if helper not in FINDERS:
        text = f"{helper!r} cannot be found here{did_you_mean(helper, FINDERS)}"
        raise Problem("invalid", text, field="helper")
    with service.admit(request) as job:
        fields, files = await read_form(request, FindFields, ("image", "patch", "other"))
        finder = Finder(helper, _read_options(helper, fields))
        wanted = FillRequest(
            image=take_image(service, fields, files),
            patches=take_patches(service, fields, files),
            patch_only=fields.box_only,
            others=_take_others(service, helper, fields, files),
        )
        return await service.find(request, job, wanted, finder, respond)


def _take_others(service: Service, name: str, fields: FindBase, files: FileTable) -> tuple[bytes, ...]:
    """Return the files of the pictures that are compared with the first."""
    kept = [service.pictures.get(id, "other_id") for id in fields.other_id]
    others = (*files.get("other", []), *kept)
    if others and not FINDERS[name].many:
        raise Problem("invalid", f"{name} looks at one picture: leave out the others", field="other")
    return others


def _read_options(name: str, fields: FindBase) -> dict[str, Any]:
    """Return the options of a helper that a request sets.

    Raises:
        Problem: one of them is of another helper, or cannot be used.
    """
    options: dict[str, Any] = {"grow": fields.grow}
    if fields.box is not None:
        options["box"] = parse_box(fields.box)
    listed = list_fields()
    for key in fields.model_fields_set & listed.keys():
        value, option = getattr(fields, key), listed[key]
        is_points = isinstance(option, PointsOption)
        options[option.name] = tuple(map(option.parse, value)) if is_points else value
    try:
        FINDERS[name].check({key: value for key, value in options.items() if key not in ("box", "grow")})
    except InputError as error:
        raise Problem("invalid", str(error), field=error.field) from error
    return options
