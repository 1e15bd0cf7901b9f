"""Lets `python scripts/NAME.py` import from the repository's root, from any working folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
