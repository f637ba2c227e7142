"""Make the pictures of the gallery anew: run the blocks of pages of the guide, and keep small copies of what they draw.

    python docs/pictures.py FOLDER [PAGE ..]

Every page runs in FOLDER/PAGE, as the tests run it, and what its blocks print goes to FOLDER/PAGE/printed.txt. Pictures
become `docs/images/gallery/PAGE_NAME.png`, at most 800 pixels wide and with 64 colours; those that the gallery does
not show are left out.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

from page_blocks import DOCS, EXECUTED, ROOT, blocks_of, run_block

GALLERY = ROOT / "docs" / "images" / "gallery"
SHOWN_IN_SH = ("finding_haxby",)
"""Pages whose blocks are marked `sh`, since they take minutes, but run as they stand."""
DEMO = "demo"
"""No page: what `make demo` makes."""
WIDTH, COLOURS = 800, 64


def run_page(page: str, folder: Path) -> None:
    """Run all blocks of a page, and write what they print."""
    if page == DEMO:
        subprocess.run([sys.executable, "-m", "dynml.cli.demo", str(folder)], check=True)
        return
    folder.mkdir(parents=True)
    (folder / "configs").symlink_to(ROOT / "configs")
    names: dict[str, object] = {"__name__": page}
    marks = (*EXECUTED, "sh") if page in SHOWN_IN_SH else EXECUTED
    with contextlib.chdir(folder), Path("printed.txt").open("w", encoding="utf-8") as printed:
        for block in blocks_of(DOCS / f"{page}.md"):
            if block.mark in marks:
                printed.write(f"==== line {block.line}\n{run_block(block, names, page)}\n")
                printed.flush()


def keep_pictures(page: str, folder: Path) -> None:
    """Copy the pictures of a page that the gallery shows, smaller."""
    from PIL import Image

    shown = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    GALLERY.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.rglob("*.png")):
        target = GALLERY / f"{page}_{path.stem}.png"
        if target.name in shown:
            picture = Image.open(path).convert("RGB")
            picture.thumbnail((WIDTH, 4 * WIDTH))
            picture.quantize(COLOURS).save(target, optimize=True)


def main() -> None:
    """Run the pages, one after the other."""
    out, *pages = sys.argv[1:]
    os.environ.setdefault("MPLBACKEND", "Agg")
    known = re.findall(r"images/gallery/(\w+?)\.png", (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8"))
    names = [DEMO, *sorted(path.stem for path in (ROOT / "docs").glob("*.md"))]
    for page in pages or [name for name in names if any(one.startswith(f"{name}_") for one in known)]:
        folder = Path(out).resolve() / page
        if not folder.exists():
            run_page(page, folder)
        keep_pictures(page, folder)
        print(page, flush=True)


if __name__ == "__main__":
    main()
