"""`python -m sparsevision` and `torchrun -m sparsevision` are the command line."""

from __future__ import annotations

import sys

from sparsevision.cli import main

if __name__ == "__main__":
    sys.exit(main())
