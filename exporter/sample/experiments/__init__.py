"""What happens if: parts of a copy of the graph switched off, scaled or exchanged.

A wish (``skip:3`` to 0, steps 1 to 5) is planned against what the file's annotations say is
there, becomes an edit of the copy, and is fed its strength at every step.
"""
