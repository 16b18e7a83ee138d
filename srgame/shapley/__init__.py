"""Shapley values of a network's filters: games, estimators, and everything that makes long runs reliable.

Start with `restoration.py`, what a coalition of filters is worth, and `permutations.py`, where permutations are drawn.
`audit.py` runs the games of a whole network. `additive.py` solves the games of images that are sums, and `replay.py`
resumes networks that torch.fx cannot trace. Estimators know the `Game` of `game.py` only, never a network or a device.
"""
