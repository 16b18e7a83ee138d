"""How well networks restore image sets: PSNR and SSIM, image by image.

Start with `evaluate.py`, one network on one set; `benchmark.py` compares several on many sets and settings, resumably;
`tiling.py` restores images that memory does not hold.
"""
