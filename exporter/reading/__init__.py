"""What a graph says, read off its edges and its annotation; nothing here changes one."""
