"""An Atlas closed at some depth, laid out as a U, in the DOT language."""
