"""The stand-ins beside these tests are imported by their plain name, by the processes that tests start too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
