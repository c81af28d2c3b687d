"""Adapters: the only modules that touch disks, sockets and other programs on behalf of the cores."""
