"""Single flipped bits in stores, experiments and compressed recordings: no wrong number may be taken for a right one.

Outcomes beside those of `chaos_fuzz`: `harmless`, where all numbers are those of the sound files (a bit that nothing
reads, or a checkpoint for which the one before it stepped in); `told`, where they are others and a warning said so (the
best model before this one); and `silent`, where they are others without a word.
"""

from __future__ import annotations

import hashlib
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from chaos_fuzz import Bench, damage_all
from chaos_products import import_tar, tar_name, write_products, write_tar
from chaos_recordings import arrays, electrophysiology, images
from chaos_specimens import Specimen

from dynml.errors import DataWarning

COMPRESSED = ("npz, compressed", "mat v5, compressed", "nii.gz", "fif.gz")


class Flips(Bench):
    """One bit of one file is flipped, and the numbers are compared with those of the sound files."""

    def __init__(self, specimen: Specimen, sound: Path, folder: Path) -> None:
        super().__init__(specimen, sound, folder)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            self.expected = specimen.read(self.folder)
        self.usual = {str(one.message) for one in told}
        self.restore()

    def damage(self, seed: int, number: int) -> tuple[str, str]:
        """Flip one bit, each byte of all files as likely as another."""
        generator = np.random.default_rng([seed, zlib.crc32(self.specimen.name.encode()), number])
        names = [path for path in self.contents if path.relative_to(self.folder).as_posix() in self.specimen.damaged]
        sizes = np.array([len(self.contents[path]) for path in names])
        path = names[generator.choice(len(names), p=sizes / sizes.sum())]
        content = bytearray(self.contents[path])
        place = int(generator.integers(len(content)))
        content[place] ^= 1 << int(generator.integers(8))
        self.put(path, bytes(content))
        return path.relative_to(self.folder).as_posix(), f"bit of byte {place}"

    def outcome(self) -> dict[str, str]:
        """Read once; what a warning said was not silent."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = super().outcome()
        said = any(issubclass(one.category, DataWarning) and str(one.message) not in self.usual for one in told)
        return {"outcome": "told"} if said and found["outcome"] == "silent" else found

    def judged(self, found: object) -> dict[str, str]:
        """Compare with the sound files' numbers."""
        return {"outcome": "harmless" if found == self.expected else "silent"}


def digest_of_store(folder: Path) -> str:
    """Fingerprint of all rows of the folder's store, as a model gets them."""
    from dynml import MultiSubjectDataset

    return digest_of(MultiSubjectDataset(folder / "store.hdf5", "memory"))


def digest_of_lazy_store(folder: Path) -> str:
    """The same of a store that is read as it is asked for."""
    from dynml import MultiSubjectDataset

    return digest_of(MultiSubjectDataset(folder / "store.hdf5", "lazy"))


def digest_of(dataset: Any) -> str:
    """Fingerprint of all rows and segments."""
    dataset.load_data()
    digest, training = hashlib.sha256(), dataset.training_set
    digest.update(repr((training.subjects, dataset.channel_names, dataset.sampling_frequency)).encode())
    table = training.segments
    for subject, start, stop in zip(table.subject.tolist(), table.start.tolist(), table.stop.tolist()):
        digest.update(repr((subject, start, stop)).encode())
        digest.update(training.read(subject, start, stop).numpy().tobytes())
    return digest.hexdigest()


def digest_of_model(folder: Path) -> str:
    """Fingerprint of the best model and its parameters."""
    from dynml.models.experiment import load_experiment

    experiment = load_experiment(folder / "runs" / "hmm")
    return _digest_of_weights(experiment.model.state_dict()) + repr(experiment.parameters)


def digest_of_resumed_run(folder: Path) -> str:
    """Fingerprint of the weights that a run comes to that goes on from its checkpoint."""
    from chaos_products import hmm_trainer

    trainer = hmm_trainer(folder, max_epochs=4, resume="auto")
    trainer.train_and_validate()
    return _digest_of_weights(trainer.weights())


def _digest_of_weights(weights: dict[str, Any]) -> str:
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()


def _with_digest(specimen: Specimen) -> Specimen:
    def read(folder: Path) -> str:
        specimen.read(folder)
        return digest_of_store(folder)

    return Specimen(specimen.name, specimen.make, specimen.damaged[:1], read)


def specimens_of_flips() -> list[Specimen]:
    """Stores, models, checkpoints, and recordings whose compression has a checksum."""
    best, checkpoint = "runs/hmm/best_model", "runs/hmm/checkpoint"
    of_model = tuple(f"{best}/{name}" for name in ("model.safetensors", "parameters.json", "manifest.json"))
    of_checkpoint = ("model.safetensors", "state.pt", "parameters.json", "manifest.json")
    compressed = [one for one in (*arrays(), *images(), *electrophysiology()) if one.name in COMPRESSED]
    tar = Specimen("tar.gz", lambda folder: write_tar(folder, ".gz"), (tar_name(".gz"),), import_tar)
    return [
        Specimen("store in memory", write_products, ("store.hdf5",), digest_of_store),
        Specimen("store on disk", write_products, ("store.hdf5",), digest_of_lazy_store),
        Specimen("best model", write_products, of_model, digest_of_model),
        Specimen(
            "checkpoint", write_products, tuple(f"{checkpoint}/{name}" for name in of_checkpoint), digest_of_resumed_run
        ),
        *map(_with_digest, [*compressed, tar]),
    ]


def flip_all(n_flips: int, seed: int, n_processes: int, names: list[str] | None = None) -> dict[str, Any]:
    """Flip `n_flips` bits, as many in each kind of file."""
    specimens = [one for one in specimens_of_flips() if not names or one.name in names]
    return damage_all(specimens, n_flips, seed, n_processes, Flips)
