"""Images, pairs of LR and HR images, and the degradations that make LR images.

Start with `pairs.py`, an image set under one of the eight test settings. The degradations of training are in
`degradations/training.py`; the patches that training cuts are in srgame/training.
"""
