"""Tidegate, the login service that stays open when everybody comes at once."""

from importlib.metadata import version
from typing import Final

__version__: Final = version("tidegate")
