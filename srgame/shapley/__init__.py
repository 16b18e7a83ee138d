"""Shapley values of a network's filters: games, estimators, and everything that makes long runs reliable.

Start with `game.py`, what a coalition of filters is worth, and `permutations.py`, where permutations are drawn.
`audit.py` runs the games of a whole network. Estimators know the `Game` protocol only, never a network or a device.
"""
