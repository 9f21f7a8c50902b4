"""What a recording shows: a page to scrub, pictures, TensorBoard."""

PLOTS = ("viewer.replay.plots", "pip install matplotlib")
"""What draws figures, and the command that installs what it needs; see ``extras.need``."""
