"""What a recording shows: a page to scrub, pictures, TensorBoard."""

PLOTS = ("viewer.replay.plots", "pip install matplotlib")
CONTRAST_PLOTS = ("viewer.replay.contrast_plots", PLOTS[1])
LOOK_PLOTS = ("viewer.replay.look_plots", PLOTS[1])
"""What draws figures, and the command that installs what it needs; see ``extras.need``."""
