"""One peer a file: how it is described, and what runs in its environment."""
