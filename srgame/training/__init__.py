"""Training of SR networks: strategies, the loop, patches, and the state from which a run resumes.

Start with `strategies.py`: each strategy defines its losses, EATS among them. `loop.py` is the training loop; it knows
no strategy by name. The degradations are in srgame/data/degradations. README.md explains options and costs.
"""
