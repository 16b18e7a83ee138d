"""Shapley values of a network's filters: games, estimators, and everything that makes long runs reliable.

Start with `restoration.py`, what a coalition of filters is worth, and `permutations.py`, where permutations are drawn.
`coalition_images.py` restores the images of coalitions, and `replay.py` resumes networks that torch.fx cannot trace.
`audit.py` runs the games of a whole network; `additive.py` solves the games of images that are sums. Estimators know
the `Game` of `game.py` only, never a network or a device.
"""
