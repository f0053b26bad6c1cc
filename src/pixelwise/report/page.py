"""Writes a page of blocks as one HTML file that needs no other files."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pixelwise.atomic import write_text
from pixelwise.report import values
from pixelwise.report.blocks import Block, Page


def write_page(path: Path, page: Page) -> None:
    """Writes a page, either complete or not at all. Equal pages give equal bytes.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, render_page(page))


def render_page(page: Page) -> str:
    """A page as HTML text, which contains its style, figures and pictures, and no address elsewhere."""
    return _templates().get_template("page.html.j2").render(page=page)


def _templates() -> Environment:
    """The templates of this package. They escape all text, and an undefined name is an error."""
    environment = Environment(
        loader=PackageLoader("pixelwise.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def html(block: Block) -> Markup:
        macro = getattr(environment.get_template("blocks.html.j2").module, type(block).__name__.lower())
        return Markup(str(macro(block)).strip())

    environment.filters.update(html=html, number=values.number, named_value=values.named_value, words=values.words)
    return environment
