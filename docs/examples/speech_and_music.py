from pathlib import Path

import nibabel
import numpy as np

from dynml.datasets import write_haxby2001_ready_folder

write_haxby2001_ready_folder("haxby")
atlas = nibabel.load("haxby/atlas.nii.gz")
labels = np.asarray(atlas.dataobj).astype(int)
parcels = np.unique(labels[labels > 0])
places = {"speech": [5, 20], "music": [3, 19]}
response = np.array([0, 0.2, 0.8, 1, 0.7, 0.3])  # at 0, 2, .. s after the event

for subject in range(1, 11):
    generator = np.random.default_rng(subject)
    signals = generator.normal(size=(160, len(parcels)))
    events = ["onset\tduration\tsound"]
    for trial, sound in enumerate(generator.permutation(["speech", "music"] * 10)):
        signals[8 * trial : 8 * trial + 6, places[sound]] += 1.2 * response[:, None]
        events.append(f"{16 * trial}\t2\t{sound}")
    image = np.zeros((*labels.shape, 160), dtype=np.float32)
    for parcel, signal in zip(parcels, signals.T):
        image[labels == parcel] = 100 + signal
    run = nibabel.Nifti1Image(image, atlas.affine)
    run.header["pixdim"][4] = 2.0
    run.header.set_xyzt_units("mm", "sec")
    folder = Path(f"recordings/sub-{subject:02d}")
    folder.mkdir(parents=True)
    nibabel.save(run, folder / "bold.nii.gz")
    (folder / "events.tsv").write_text("\n".join(events) + "\n")
