"""Sets of files that are committed whole, with a text in them."""

from dynml.training.checkpoints.committed import newest_committed


def write_text(text):
    return lambda folder: (folder / "content.txt").write_text(text)


def content_of(target):
    path, _ = newest_committed(target)
    return None if path is None else (path / "content.txt").read_text()
