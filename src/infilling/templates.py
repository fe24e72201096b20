"""Templates of HTML pages: one way to set Jinja2 up."""

from jinja2 import Environment, PackageLoader, StrictUndefined


def make_environment(package: str) -> Environment:
    """Return an environment for the templates in the folder `templates` of a package.

    All values are escaped; one that is missing is an error.

    Args:
        package: dotted name, such as `infilling.judging`.
    """
    return Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
