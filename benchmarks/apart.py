"""One measurement in a process of its own: a script calls itself with words, and prints a number."""

from __future__ import annotations

import json
import subprocess
import sys


def measured_apart(script: str, *words: object) -> float:
    """Runs `python SCRIPT WORDS` and returns the number in the last line that it prints."""
    command = [sys.executable, script, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(ended.stdout.strip().splitlines()[-1]))
