"""The site: Markdown in this folder, reference from the docstrings, drawings from the code. `make docs` builds it."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from penguiflow import __version__ as release  # noqa: E402

project = "PenguiFlow"
copyright = "The PenguiFlow developers"
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "docstrings", "drawings", "links"]
exclude_patterns = ["_build", "tests"]
nitpicky = True

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("Targets", "ErrorDecision", "Expected", "Authenticate")}
napoleon_attr_annotations = False
napoleon_numpy_docstring = False
maximum_signature_line_length = 70
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"PenguiFlow {release}"
html_static_path = ["_static", "_build/drawings"]
html_css_files = ["site.css"]
html_copy_source = False
html_domain_indices = False
html_use_index = False
html_show_sphinx = False
highlight_language = "none"
pygments_style = "a11y-high-contrast-light"  # of accessible-pygments, which Furo brings
pygments_dark_style = "a11y-high-contrast-dark"
