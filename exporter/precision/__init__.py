"""The fewest modules to keep in float32 so that a half precision file meets an error."""
