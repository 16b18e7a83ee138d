"""PSNR and SSIM of networks on image sets, image by image.

Start with `evaluate.py`, which measures one network on one set. `benchmark.py` measures several networks on many sets
and settings, and resumes. `restore.py` writes the SR images of a set, and `tiling.py` restores images that are too
large for memory. The measures themselves are in srgame/metrics.py, the images in srgame/data.
"""
