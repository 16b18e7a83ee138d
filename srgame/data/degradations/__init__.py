"""From an HR image to an LR image."""
