"""Whether what a page shows as output is what its commands print: the same words, and numbers that are near.

Numbers differ in their last digits between processors, and a class of a few trials by one trial; a block of output is
therefore compared with tolerance, but word by word.
"""

import re

TOKEN = re.compile(r"[-+]?(?:\d+\.\d+|\.\d+|\d+)(?:e[-+]?\d+)?|[^\W\d]+|[^\w\s]")
LEFT_OUT = ".."
RELATIVE, ABSOLUTE, OF_WHOLE_NUMBERS = 0.05, 0.08, 1


def tokens_of(text):
    """Numbers, words and signs, whatever the lines they stand in."""
    return TOKEN.findall(text)


def is_like(shown, printed):
    """Whether two tokens are the same word, or numbers that are near."""
    if shown == printed:
        return True
    try:
        first, second = float(shown), float(printed)
    except ValueError:
        return False
    are_whole = shown.lstrip("+-").isdigit() and printed.lstrip("+-").isdigit()
    return abs(first - second) <= max(RELATIVE * abs(first), OF_WHOLE_NUMBERS if are_whole else ABSOLUTE)


def first_difference(shown, printed):
    """Find each piece of a shown block (what is left out stands as "..") in the output, one after the other.

    Returns
    -------
    str or None
        The piece that is not there.
    """
    tokens, begin = tokens_of(printed), 0
    for piece in shown.split(LEFT_OUT):
        wanted = tokens_of(piece)
        starts = range(begin, len(tokens) - len(wanted) + 1)
        found = next(
            (start for start in starts if all(map(is_like, wanted, tokens[start : start + len(wanted)]))), None
        )
        if found is None:
            return piece.strip()
        begin = found + len(wanted)
    return None
