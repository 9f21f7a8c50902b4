"""What outputs are tried with, and what they need."""

from __future__ import annotations

import shutil

import pytest

needs_graphviz = pytest.mark.skipif(
    shutil.which("neato") is None, reason="Graphviz is not installed"
)
HOSTILE = '<IMG SRC="/etc/passwd"/>"]; x [label=<script>alert(1)</script>\x01\n&'
