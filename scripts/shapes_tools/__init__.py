"""The shipped model `shapes`: its scenes, its training, its measure."""
