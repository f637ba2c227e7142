"""Tables of the keys of formats on the page about stores: `python tests/docs/key_tables.py` writes them anew."""

import re
from pathlib import Path

from dynml.conversion.keys import sections_of_keys
from dynml.readers.formats import READERS

PAGE = Path(__file__).parents[2] / "docs" / "store.md"
MARKED = re.compile(r"(?<=tests/docs/key_tables.py -->\n).*?(?=<!-- end -->)", flags=re.DOTALL)


def tables():
    """One table for each set of formats that share their keys, of this package only."""
    parts = []
    for where, keys in sections_of_keys().items():
        extensions = [word for word in where.split() if word in READERS]
        if extensions:
            title = ", ".join(f"`{extension}`" for extension in extensions)
            rows = [f"| `{key}` | `{default}` | {text} |" for key, (default, text) in keys.items()]
            parts.append("\n".join([title + ":", "", "| key | default | meaning |", "|---|---|---|", *rows]))
    return "\n" + "\n\n".join(parts) + "\n\n"


def written():
    """What stands on the page."""
    return MARKED.search(PAGE.read_text(encoding="utf-8"))[0]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKED.sub(lambda _: tables(), text, count=1), encoding="utf-8")
