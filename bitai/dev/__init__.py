"""What a development node does for its owner, and no other node does for anybody."""
