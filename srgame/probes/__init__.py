"""What a network's channels do: each probe is a plain function from a network and images to a tidy frame.

Start with `responses.py`, the simplest probe; all read features through `features.py`. `scores.py` brings φ, salience
and others into one form, so that their equity can be compared. Probes draw nothing:
their pictures are in srgame/report.
"""
