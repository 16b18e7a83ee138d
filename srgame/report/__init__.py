"""Tidy frames as pictures and as text, and the command line of the analyses.

Start with `recipe.py`, which every file of analyses/ ends with, or `figures.py`. `results.py` saves the results of a
verb. Nothing is measured here: drawing reads frames alone. This is the only package that imports matplotlib.
"""
