"""The page a person opens first: what the node does, and coins to play with."""

from bitai.web.app import WebOptions, web_app

__all__ = ["WebOptions", "web_app"]
