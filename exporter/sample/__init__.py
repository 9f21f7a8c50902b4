"""A denoising loop over a written file, watched from inside."""
