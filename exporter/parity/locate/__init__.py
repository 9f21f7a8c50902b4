"""Which module, and which operator in it, first departs from PyTorch."""

from exporter.parity.locate.finding import Finding, Location
from exporter.parity.locate.search import locate

__all__ = ["Finding", "Location", "locate"]
