"""The process around the node: socket, thread, signals, files that say who may enter."""
