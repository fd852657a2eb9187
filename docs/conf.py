"""How Sphinx builds these pages: tox -e docs."""

from __future__ import annotations

from typing import Any

from docutils import nodes

import gopacs_session

project = "gopacs_session"
author = "gopacs_session contributors"
release = version = gopacs_session.__version__
language = "en-GB"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
# A list, not a block for each.
napoleon_custom_sections = [("Attributes", "params_style")]
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "furo"
html_title = f"gopacs_session {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# Not on what a program prints.
copybutton_selector = "div:not(.highlight-output) > div.highlight > pre"
html_copy_source = html_show_copyright = html_show_sphinx = False

nitpicky = True
PYTHON = "https://docs.python.org/3/library/"
REQUESTS = "https://requests.readthedocs.io/en/latest/api/#"
OAUTHLIB = "https://oauthlib.readthedocs.io/en/latest/oauth2/"
# Where other projects document what our docstrings name. No inventory is fetched: the build needs no network.
ELSEWHERE = {
    "Any": f"{PYTHON}typing.html#typing.Any",
    "Self": f"{PYTHON}typing.html#typing.Self",
    "collections.abc.Callable": f"{PYTHON}collections.abc.html#collections.abc.Callable",
    "collections.abc.Iterator": f"{PYTHON}collections.abc.html#collections.abc.Iterator",
    "collections.abc.Mapping": f"{PYTHON}collections.abc.html#collections.abc.Mapping",
    "os.environ": f"{PYTHON}os.html#os.environ",
    "requests.Session": f"{REQUESTS}requests.Session",
    "requests.Session.request": f"{REQUESTS}requests.Session.request",
    "requests.exceptions.RequestException": f"{REQUESTS}requests.RequestException",
    "requests.models.PreparedRequest": f"{REQUESTS}requests.PreparedRequest",
    "requests.sessions.Session": f"{REQUESTS}requests.Session",
    "os.PathLike": f"{PYTHON}os.html#os.PathLike",
    "oauthlib.oauth2.rfc6749.errors.InsecureTransportError": f"{OAUTHLIB}oauth2.html",
}


def link_elsewhere(app: Any, env: Any, node: Any, text: Any) -> nodes.reference | None:
    """A link to another project's documentation; None if the target is not known, which the build warns of."""
    url = ELSEWHERE.get(node.get("reftarget"))
    return nodes.reference("", "", text, internal=False, refuri=url) if url else None


def setup(app: Any) -> None:
    app.connect("missing-reference", link_elsewhere)
