from __future__ import annotations

from sparsevision.errors import first_line


def test_the_first_line_of_a_library_is_plain_text() -> None:
    assert first_line(ValueError("\x1b[96mThis is step 3/3\x1b[0m of it.\nNext steps")) == "This is step 3/3 of it"
    assert first_line(KeyError()) == "KeyError"
