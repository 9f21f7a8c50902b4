"""Which module, and which operator in it, first departs from PyTorch."""

from exporter.parity.locate.departure import Departure
from exporter.parity.locate.finding import Finding, Location
from exporter.parity.locate.match import DEPARTS
from exporter.parity.locate.search import locate, search

__all__ = ["DEPARTS", "Departure", "Finding", "Location", "locate", "search"]
