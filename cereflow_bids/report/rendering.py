"""From a template to one HTML file and the PDF of the very same text, offline and repeatable."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from cereflow_bids import __version__

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render_html(template: str, **content: Any) -> str:
    """Fill a template.

    Parameters
    ----------
    template
        File name in ``templates/``.
    **content
        What the template shows. A name that is missing is an error, not an empty place.

    Returns
    -------
    str
        One HTML page that needs no other file.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(version=__version__, **content)


def render_pdf(html: str) -> bytes:
    """Return the PDF of a page; the same page gives the same bytes.

    Nothing is fetched: pictures must be in the page as data URIs. The identifier of the file comes
    from its text, and no date, author or path is written.
    """
    import weasyprint
    from weasyprint.urls import URLFetcher

    page = weasyprint.HTML(string=html, url_fetcher=URLFetcher(allowed_protocols=["data"]))
    digest = hashlib.sha256(html.encode()).hexdigest()[:32]
    pdf: bytes = page.write_pdf(pdf_identifier=digest.encode())
    return pdf


def data_uri(png: bytes) -> str:
    """Return a picture in the form that an ``img`` element takes without another file."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
