"""Make the pictures of the gallery anew: run the blocks of pages of the guide, and keep small copies of what they draw.

    python docs/pictures.py FOLDER [PAGE ..]

Every page runs in FOLDER/PAGE, as the tests run it, and what its blocks print goes to FOLDER/PAGE/printed.txt. Pictures
become `docs/images/gallery/PAGE_NAME.png`, at most 800 pixels wide and with 64 colours; those that the gallery does
not show are left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "docs" / "images" / "gallery"
BLOCK = re.compile(r"^```(bash|python|sh)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
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
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    with contextlib.chdir(folder), Path("printed.txt").open("w", encoding="utf-8") as printed:
        for number, (mark, block) in enumerate(BLOCK.findall(text)):
            if mark == "sh" and page not in SHOWN_IN_SH:
                continue
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown):
                exec(block, names) if mark == "python" else run_lines(block)
            printed.write(f"==== {number} {mark}\n{shown.getvalue()}\n")
            printed.flush()


def run_lines(block: str) -> None:
    """Run a block of bash: scripts of dynml in this process, which has torch at hand, other lines by bash."""
    for is_script, lines in grouped(re.sub(r"\\\n\s*", "", block).splitlines()):
        if is_script:
            run_script(lines[0])
        else:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            subprocess.run(["bash", "-euc", "\n".join(lines)], check=True, env={**os.environ, "PATH": path})


def grouped(lines: list[str]) -> Iterator[tuple[bool, list[str]]]:
    """Give each line that calls a script alone, and the others together."""
    others: list[str] = []
    for line in lines:
        if line.startswith("dynml_"):
            if others:
                yield False, others
            yield True, [line]
            others = []
        else:
            others.append(line)
    if others:
        yield False, others


def run_script(line: str) -> None:
    """Run a script as its command line says."""
    before, sys.argv = sys.argv, shlex.split(line)
    try:
        runpy.run_path(str(ROOT / "scripts_python" / sys.argv[0]), run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{line}: status {end.code}") from end
    finally:
        sys.argv = before


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
