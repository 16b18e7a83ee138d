"""Images, pairs of LR and HR images, and the degradations that make LR images.

Start with `pairs.py`, which loads an image set under one of the eight test settings, or real pairs from two folders.
`lazy.py` reads images one by one. The degradations for training are in `degradations/training.py`; patches for training
are in srgame/training.
"""
