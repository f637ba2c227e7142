"""Make anew what pages of the guide show as output: run their blocks, and write what they print to docs/outputs.

    python docs/outputs.py [PAGE ..]

Each page runs in an empty folder, as the tests run it; blocks marked `sh` are run on pages that say nothing else. A
page includes `outputs/PAGE_1.txt`, `outputs/PAGE_2.txt`, ..: each is what was printed since the output before.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from page_blocks import DOCS, EXECUTED, ROOT, blocks_of, run_block


def pages_with_outputs() -> list[Path]:
    """Give the pages that include outputs."""
    return [page for page in sorted(DOCS.glob("*.md")) if any(block.mark == "output" for block in blocks_of(page))]


def make_outputs(page: Path) -> None:
    """Run a page up to its last output, and write each."""
    blocks = blocks_of(page)
    last = max(number for number, block in enumerate(blocks) if block.mark == "output")
    runs = EXECUTED if any(block.mark in EXECUTED for block in blocks) else ("sh",)
    names: dict[str, object] = {"__name__": page.stem}
    printed = ""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("configs").symlink_to(ROOT / "configs")
        for block in blocks[: last + 1]:
            if block.file and block.mark == "output":
                block.file.write_text(tidied(printed.replace(f"{folder}/", "")), encoding="utf-8")
                printed = ""
            elif block.mark in runs:
                printed += run_block(block, names, str(page))


def tidied(text: str) -> str:
    """End each line after its last word, and the text after its last line."""
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines()) + "\n"


def main() -> None:
    """Run the pages, one after the other."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    chosen = [DOCS / f"{name}.md" for name in sys.argv[1:]] or pages_with_outputs()
    for page in chosen:
        make_outputs(page)
        print(page.stem, flush=True)


if __name__ == "__main__":
    main()
