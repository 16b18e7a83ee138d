"""`python -m analyses` makes every figure and table; --smoke tries them all with tiny settings, into figures/draft/."""

import sys
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).parent))  # recipes import one another by their bare names

from regenerate import regenerate

if __name__ == "__main__":
    sys.exit(tyro.cli(regenerate))
