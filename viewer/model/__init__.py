"""A model as it is read: the file, the hierarchy, the U, and what it cost."""
