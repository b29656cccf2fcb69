"""Lets these tests write models as those of the passes do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "passes"))
