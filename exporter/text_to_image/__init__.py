"""Text encoders, sampling stage and image decoder of a pipeline as one file."""
