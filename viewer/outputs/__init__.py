"""One file a format: ``write(atlas, path)`` for Graphviz, TensorBoard and Model Explorer."""

from viewer.outputs.options import add_output_options, check_outputs, write_outputs

__all__ = ["add_output_options", "check_outputs", "write_outputs"]
