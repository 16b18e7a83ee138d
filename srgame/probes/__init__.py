"""Probes show what the filters of a network do. A probe is a plain function from a network and images to a tidy frame.

Start with `responses.py`, the simplest probe; then `cosine.py`, `matching.py`, `salience.py`, `lam.py`, `ddr.py`,
`srga.py` and `attributions.py`, one file per probe. Three files are not probes but help them: `features.py` reads what
layers respond, `principal.py` computes principal components, and `scores.py` brings φ, salience and other scores into
one form. `equity.py` measures how equally filters share any such score. `profiles.py` joins φ and the probes, to
compare networks; `pruning.py` ranks filters, removes the lowest, and measures what that costs.

Nothing here draws: the pictures are in srgame/report/probe_figures.py, the commands in srgame/cli/probe.py.
"""
