"""Pages: served, as one file, or drawn by a browser without a window."""
