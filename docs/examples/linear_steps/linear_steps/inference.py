"""What dynml_infer_from_model.py writes."""

import json

import torch


@torch.no_grad()
def write_inference(experiment, dataset, subset_names, out_folder):
    """Write the mean squared error of each subject, and say what was written."""
    model, errors = experiment.model, {}
    for subset in map(dataset.subset, subset_names):
        for index, subject in enumerate(subset.subjects):
            table = subset.segments.take(subset.segments.subject == index)
            squares = []
            for start, stop in zip(table.start.tolist(), table.stop.tolist()):
                signals = subset.read(index, start, stop)
                outputs = model(signals[None])[0]
                squares.append((outputs - signals[model.config.n_lags :]).square())
            errors[subject] = float(torch.cat(squares).nanmean())
    (out_folder / "errors.json").write_text(json.dumps(errors))
    return f"{len(errors)} subjects."
