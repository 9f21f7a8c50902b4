"""One file a format: Atlas to TensorBoard, Graphviz, Model Explorer, HTML."""
