"""What a recording shows: a page to scrub, pictures, TensorBoard."""
