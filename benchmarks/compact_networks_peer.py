"""The peers' part of compact_networks.py, run by the Python of an environment that has braindecode and pyriemann.

PYTHON compact_networks_peer.py JSON

JSON has `data` (an .npz file: training (n, T, C), testing (m, T, C), classes (n,), groups (n,); groups below 0: none),
`out`, `rate` (Hz), `methods`, `n_seeds`, and optionally `epochs`, `new_rate` and `dropout`. The classes of the testing
trials are not there. `out` gets the probabilities of each method, (seeds, m, K); the last line of the output is RESULT
and JSON.

Networks have the lengths of their publications in seconds, or, where a trial is too short, cut to it. Channels are
standardized by the training trials. Each network is trained without each of three folds of the training trials (whole
groups, if there are any); the epoch with the highest accuracy of the left-out trials (a mean over folds and eleven
epochs) is how long it trains on all of them, once for each seed. AdamW, a cosine over all epochs.
"""

import json
import sys
import time
import types

import numpy as np
import torch

STAND_INS = ("torchaudio", "torchaudio.functional", "torchaudio.transforms")
"""braindecode imports them for networks that are not used here; a build for GPUs does not load beside a CPU's torch."""
N_FOLDS, BATCH, SMOOTHED, EPOCHS = 3, 16, 11, 100
BANDS = ((4, 8), (8, 13), (13, 30), (30, 45))
"""Hz, of the tangent space by bands; those below half the sampling frequency."""
LEARNING = {
    "EEGNet": {"lr": 3e-3, "weight_decay": 0.0},
    "ShallowFBCSPNet": {"lr": 6.25e-4, "weight_decay": 0.0},
}
"""ShallowFBCSPNet: as in the package's examples. EEGNet: three times the published rate, for a fifth of the published
epochs, as folds of training trials of two simulations favoured (accuracies 0.47 and 0.96; with 0.001 0.43 and 0.57)."""


def put_stand_ins():
    """Let `import torchaudio` succeed."""
    for name in STAND_INS:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__getattr__ = _nothing
    for name in STAND_INS[1:]:
        setattr(sys.modules[STAND_INS[0]], name.split(".")[1], sys.modules[name])


def _nothing(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (torch.nn.Module,), {})


def sizes_of(method, rate, n_times, dropout):
    """Lengths in samples of a network for trials of `n_times` samples, and whether they differ from the published."""
    if method == "EEGNet":  # 128 Hz: 0.5 s, mean over 4 samples, 0.5 s of these, mean over 8
        pools = (4, 8) if n_times >= 64 else (2, max(1, n_times // 8))
        wanted = {"kernel_length": round(rate / 2), "depthwise_kernel_length": round(rate / 8)}
        most = {"kernel_length": n_times // 2, "depthwise_kernel_length": n_times // pools[0] // 2}
        own = {name: max(min(wanted[name], most[name]), 2) for name in wanted}
        is_cut = own != wanted or pools != (4, 8)
        own |= {"pool1_kernel_size": pools[0], "pool2_kernel_size": pools[1]}
        return own | {"drop_prob": dropout, "final_layer_with_constraint": True}, is_cut
    # 250 Hz: 25 samples, mean over 75 in steps of 15
    names = ("filter_time_length", "pool_time_length", "pool_time_stride")
    wanted = dict(zip(names, (round(0.1 * rate), round(0.3 * rate), round(0.06 * rate)), strict=True))
    kernel = max(min(wanted["filter_time_length"], n_times // 3), 2)
    pool = max(min(wanted["pool_time_length"], (n_times - kernel + 1) // 2), 2)
    own = dict(zip(names, (kernel, pool, max(min(wanted["pool_time_stride"], pool), 1)), strict=True))
    return own | {"drop_prob": 0.5}, own != wanted


def network_of(method, job, shape, n_classes, seed):
    """A network that is not trained."""
    import braindecode.models

    torch.manual_seed(seed)
    sizes, _ = sizes_of(method, job["rate"], shape[2], job.get("dropout", 0.5))
    return getattr(braindecode.models, method)(
        n_chans=shape[1], n_outputs=n_classes, n_times=shape[2], sfreq=job["rate"], **sizes
    )


def trained(network, method, trials, classes, epochs, stop, seed, look):
    """Train for `stop` of `epochs` epochs; `look` is called after each."""
    optimizer = torch.optim.AdamW(network.parameters(), **LEARNING[method])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(stop):
        network.train()
        for rows in torch.randperm(len(trials), generator=generator).split(BATCH):
            if len(rows) > 1:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(trials[rows]), classes[rows]).backward()
                optimizer.step()
        schedule.step()
        look(network)


def logits_of(network, trials):
    """Logits of trials."""
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in trials.split(256)])


def folds_of(classes, groups):
    """Left-out trials of each fold."""
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    if groups[0] >= 0:
        cut = GroupKFold(min(N_FOLDS, len(np.unique(groups))))
        return [held_out for _, held_out in cut.split(classes, classes, groups)]
    return [held_out for _, held_out in StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(classes, classes)]


def curves_of(method, job, trials, classes, groups, epochs):
    """Accuracy and cross-entropy of left-out trials by epoch: means over folds, two arrays (epochs,)."""
    found = []
    for number, held_out in enumerate(folds_of(classes.numpy(), groups)):
        fit = np.setdiff1d(np.arange(len(classes)), held_out)
        network = network_of(method, job, trials.shape, int(classes.max()) + 1, 100 + number)
        own = []

        def look(network, own=own, held_out=held_out):
            logits = logits_of(network, trials[held_out])
            loss = float(torch.nn.functional.cross_entropy(logits, classes[held_out]))
            own.append((float((logits.argmax(1) == classes[held_out]).float().mean()), loss))

        trained(network, method, trials[fit], classes[fit], epochs, epochs, 100 + number, look)
        found.append(own)
    return np.array(found).mean(axis=0).T


def network_probabilities(method, job, trials, testing, classes, groups):
    """Probabilities of the testing trials by seed, and what the folds said."""
    epochs = job.get("epochs", EPOCHS)
    accuracy, loss = curves_of(method, job, trials, classes, groups, epochs)
    around = np.convolve(accuracy, np.ones(SMOOTHED), "same") / np.convolve(np.ones(epochs), np.ones(SMOOTHED), "same")
    stop, said = int(around.argmax()) + 1, []
    for seed in range(job["n_seeds"]):
        network = network_of(method, job, trials.shape, int(classes.max()) + 1, seed)
        trained(network, method, trials, classes, epochs, stop, seed, lambda _: None)
        said.append(logits_of(network, testing).softmax(1).numpy())
    sizes, is_cut = sizes_of(method, job["rate"], trials.shape[2], job.get("dropout", 0.5))
    report = {"epochs": stop, "held_out": float(around[stop - 1]), "held_out_cross_entropy": float(loss[stop - 1])}
    report |= {"sizes": sizes, "is_cut_to_the_trial": is_cut}
    return np.array(said), report | {"n_parameters": sum(one.numel() for one in network.parameters())}


def tangent_space_probabilities(method, job, training, testing, classes):
    """Covariances in tangent space, and a logistic regression; by bands: their features side by side."""
    from pyriemann.estimation import Covariances
    from pyriemann.tangentspace import TangentSpace
    from scipy.signal import butter, sosfiltfilt
    from sklearn.linear_model import LogisticRegression

    parts = {"fit": [], "new": []}
    for band in [None] if method == "tangent_space" else [band for band in BANDS if band[1] < job["rate"] / 2]:
        fit, new = training, testing
        if band is not None:
            sections = butter(4, band, "bandpass", fs=job["rate"], output="sos")
            fit, new = (sosfiltfilt(sections, each, axis=1) for each in (fit, new))
        fit, new = (Covariances("oas").transform(each.transpose(0, 2, 1).astype(np.float64)) for each in (fit, new))
        space = TangentSpace("riemann").fit(fit)
        parts["fit"].append(space.transform(fit))
        parts["new"].append(space.transform(new))
    model = LogisticRegression(C=1.0, max_iter=2000).fit(np.hstack(parts["fit"]), classes)
    return model.predict_proba(np.hstack(parts["new"]))[None], {}


def resampled(trials, rate, new_rate):
    """Trials at another rate, filtered against aliasing; no filter crosses a trial."""
    from fractions import Fraction

    from scipy.signal import resample_poly

    ratio = Fraction(new_rate / rate).limit_denominator(1000)
    return resample_poly(trials, ratio.numerator, ratio.denominator, axis=1, padtype="line").astype(np.float32)


def main():
    """Train each method, write."""
    job = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    put_stand_ins()
    with np.load(job["data"]) as content:
        data = {name: content[name] for name in content.files}
    native = job["rate"]
    mean, std = data["training"].mean((0, 1)), data["training"].std((0, 1))
    scaled = [(data[name] - mean) / std for name in ("training", "testing")]
    said, report = {}, {}
    for method in job["methods"]:
        begin = time.process_time()
        if method.startswith("tangent_space"):
            own = job | {"rate": native}
            said[method], found = tangent_space_probabilities(method, own, *scaled, data["classes"])
        else:
            parts = scaled
            if job.get("new_rate"):
                parts, job["rate"] = [resampled(part, native, job["new_rate"]) for part in scaled], job["new_rate"]
            tensors = [torch.from_numpy(np.ascontiguousarray(part.transpose(0, 2, 1), np.float32)) for part in parts]
            said[method], found = network_probabilities(
                method, job, *tensors, torch.from_numpy(data["classes"].astype(np.int64)), data["groups"]
            )
        report[method] = found | {"processor_seconds": time.process_time() - begin}
    np.savez(job["out"], **said)
    print("RESULT" + json.dumps(report))


if __name__ == "__main__":
    main()
