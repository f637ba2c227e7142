"""The linear answer that a decoder starts from, and how much of its network is added to it."""
