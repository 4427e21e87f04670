"""Where everything goes: sizes of boxes, layers and their order (igraph), coordinates, clusters, and the ways of links.

Rules: pixels. Within the modules `u` runs along a layer and `v` from layer to layer, so that one computation serves
all directions; what leaves this package is in `x` and `y`.
"""

from penguiflow_viz.layout.layout import Layout, laid_out
from penguiflow_viz.layout.shapes import DIRECTIONS, Rect, Route

__all__ = ["DIRECTIONS", "Layout", "Rect", "Route", "laid_out"]
