"""Whether the parts of a joined store hold what they held when they were joined."""

from __future__ import annotations

import hashlib

from dynml.errors import DataError
from dynml.store.reading import Store


def digest_of_subjects(store: Store) -> str:
    """SHA-256 over all subjects of a store, their participants and the SHA-256 of their data; reads no signals."""
    digest = hashlib.sha256()
    for group in sorted({name for subject in store.subjects for name in store.groups(subject)}):
        having = [subject for subject in store.subjects if group in store.groups(subject)]
        digest.update(f"{group} {store.fingerprint(group, having)}\n".encode())
    return digest.hexdigest()


def faults_of_parts(store: Store) -> list[str]:
    """Compare each part with what was noted of it; one sentence a fault. None where a store has no parts."""
    if store.parts is None:
        return []
    faults = []
    for file, part in store.parts.by_file.items():
        try:
            with Store(store.parts.path(file)) as found:
                linked = [name for name in found.subjects if store.file_of(name).path == found.path]
                if digest_of_subjects(found) != part.digest:
                    faults.append(f"{store.path}: its part {found.path} has other subjects than when it was joined.")
                elif len(linked) != part.n_subjects:
                    n_lost = part.n_subjects - len(linked)
                    faults.append(f"{store.path}: no link leads to {n_lost} of the subjects in its part {found.path}.")
        except DataError as error:
            faults.append(str(error))
    return faults
