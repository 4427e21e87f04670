"""The distribution's version."""

from typing import Final

__version__: Final = "2.0.0"
