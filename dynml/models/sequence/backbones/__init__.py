"""Networks that go over a window's samples, and what leads into and out of them."""
