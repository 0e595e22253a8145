"""Templates of HTML pages: whatever is put into one is escaped, and what is missing is a mistake, not a blank."""

import jinja2


def page_template(package: str, name: str) -> jinja2.Template:
    """The template of that name in the folder templates/ of a package."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
