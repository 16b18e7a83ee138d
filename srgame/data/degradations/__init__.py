"""Degradations: from an HR image to an LR image.

Start with `testing.py`, the eight settings of the tests, or `training.py`, the degradations of training. Both are built
from `steps.py`, `kernels.py` and `jpeg.py`; `folder.py` degrades a whole image set.
"""
