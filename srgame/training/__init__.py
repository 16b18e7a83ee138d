"""Training of SR networks: strategies, the loop, the patches that it sees and the state from which it resumes.

Start with `strategies.py`: what each strategy minimises, EATS among them. `loop.py` is the training loop and knows no
strategy by name. Degradations are in srgame/data/degradations.
"""
