"""The node: the one place that joins the packages, opens files and sockets, reads clock and environment."""
