"""Runs the examples of Documentation/python.md and of the README, in their order, in a process of its own."""

import os
import re
import subprocess
import sys

import pytest

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ARTICLE = os.path.join(PACKAGE, "..", "..", "Documentation", "python.md")


def test_article(tmp_path):
    pytest.importorskip("numpy")
    if not os.path.exists(ARTICLE):
        pytest.skip("the article is not here")
    with open(ARTICLE, encoding="utf-8") as file:
        text = file.read()
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert len(blocks) > 10
    # Each line keeps its number.
    lines = [""] * text.count("\n")
    for block in blocks:
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block.group(1).splitlines()):
            lines[first + number] = line
    script = tmp_path / "article.py"
    script.write_text("\n".join(lines))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
