import dataclasses

import numpy as np
import pytest
import torch
from backbones_making import CBRAMOD_NAMES, cbramod_encoded, cbramod_weights, cortex_mae_checkpoint
from decoding_data import configs_of, trainer_of
from scipy.signal import resample_poly

from dynml import MultiSubjectDataset
from dynml.dataset.config import DatasetConfig
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.exchange.published_backbones import import_published_backbone
from dynml.models.experiment import load_experiment
from dynml.models.sequence.decoding.evaluation import predictions_of, windows_of_trials
from dynml.models.sequence.decoding.model import Decoding
from dynml.models.sequence.decoding.pretraining import load_pretrained
from dynml.models.sequence.decoding.targets import Target
from dynml.recording import Events, recording_of_runs
from dynml.training.checkpoints.experiment_folder import ExperimentFolder

N_TRIALS = 6
QUICK = {"baseline_trials": 4}
FEW = CBRAMOD_NAMES[:6]


def recording(seed, *, rate=200.0, names=FEW, scale=10.0, units="uV", trial=200, n_runs=1, offset=0.0):
    """Trials of two classes, of which a wave in another channel each tells."""
    generator = np.random.default_rng(seed)
    length, classes = N_TRIALS * (trial + 20), np.resize([0, 1], N_TRIALS * n_runs)
    runs = []
    for run in range(n_runs):
        signals = generator.normal(size=(length, len(names)))
        for number in range(N_TRIALS):
            own = slice(number * (trial + 20), number * (trial + 20) + trial)
            wave = 3 * np.sin(2 * np.pi * 10 * np.arange(trial) / rate)
            signals[own, 4 + classes[run * N_TRIALS + number]] += wave
        runs.append((scale * signals + offset).astype(np.float32))
    onsets = np.concatenate([run * length + np.arange(N_TRIALS) * (trial + 20) for run in range(n_runs)])
    events = Events(
        onset=onsets.astype(np.int64),
        duration=np.full(len(onsets), trial, dtype=np.int64),
        labels={"stimulus": classes.astype(np.int64)},
        names={"stimulus": ("face", "house")},
    )
    return recording_of_runs(runs, sampling_frequency=rate, events=events, units=units, channel_names=names)


def dataset_of(standardization="none", rates=None, config=None, **settings):
    rates = rates or [settings.pop("rate", 200.0)] * 4
    people = {f"sub-{seed}": recording(seed, rate=rate, **settings) for seed, rate in enumerate(rates)}
    training, others = dict(list(people.items())[:2]), list(people.items())[2:]
    return MultiSubjectDataset.from_arrays(
        training, dict(others[:1]), dict(others[1:]), standardization=standardization, config=config
    )


def imported(folder, content, family, **settings):
    path = folder / "weights.pth"
    torch.save(content, path)
    experiment = ExperimentFolder(folder, family)
    import_published_backbone(path, experiment, family, **settings)
    return str(experiment.path)


@pytest.fixture(scope="module")
def published():
    return cbramod_weights(1, 16)


@pytest.fixture(scope="module")
def cbramod(tmp_path_factory, published):
    return imported(tmp_path_factory.mktemp("cbramod"), published, "cbramod")


@pytest.fixture(scope="module")
def cortex_mae(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("cortex_mae"), cortex_mae_checkpoint(n_layers=1), "cortex_mae")


PARCELS = [f"parcel_{number}" for number in range(12)]
FMRI = {"rate": 1.0, "names": PARCELS, "units": "arbitrary", "trial": 20}


def decoder_on(dataset, path, **settings):
    config = configs_of(dataset, path, **settings)["model"]
    model = Decoding(config, dataset.n_channels)
    load_pretrained(model, path)
    return model.eval()


def training_trials(dataset, model):
    sampler = configs_of(dataset, backbone="linear")["sampler"]
    return Target.of(dataset, "stimulus", None).trials("training", sampler, model.config.class_names)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_decoder_reads_what_the_published_model_makes_of_converted_trials(cbramod, published):
    names = FEW[::-1]
    dataset = dataset_of(rate=250.0, names=names, units="mV", scale=0.01, trial=500)
    model = decoder_on(dataset, cbramod, unlike_input="convert")
    assert model.config.backbone_settings["input_scale"] == 10
    windows = next(windows_of_trials(training_trials(dataset, model), torch.device("cpu")))
    trial = windows.signals_BTC[1].numpy()[:, ::-1] * 1000 / 100
    resampled = torch.from_numpy(resample_poly(trial, 4, 5, axis=0, padtype="line").copy())
    patches = resampled.T.reshape(6, 2, 200)
    with torch.no_grad():
        features = model.features(windows)[1]
    expected = cbramod_encoded(published, patches, 1).mean(dim=1).flatten()
    torch.testing.assert_close(features.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_run_adapts_the_backbone_goes_on_without_the_import_and_is_loaded_again(cbramod, tmp_path):
    dataset = dataset_of()
    before = decoder_on(dataset, cbramod).backbone.state_dict()
    trainer = trainer_of(dataset, tmp_path, pretrained=cbramod, trainer={"max_epochs": 1, **QUICK})
    summary = trainer.train_and_validate()
    assert any("The backbone is CBraMod" in one and "licence" in one for one in summary["findings"])
    settled = dataclasses.asdict(trainer.model.config)
    again = trainer_of(
        dataset, tmp_path, pretrained="/gone", resume="auto", trainer={"max_epochs": 2, **QUICK}, **settled
    )
    again.train_and_validate()
    assert again.progress.epoch == 2
    after = again.model.backbone.state_dict()
    assert [name for name in before if torch.equal(before[name], after[name])] in ([], ["embedder.hidden_patch_P"])
    trials = again.trials("validation")
    loaded = load_experiment(tmp_path / "run").model
    found, expected = (predictions_of(one, trials).probabilities for one in (loaded, best_of(again)))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_frozen_backbone_stays_as_it_was_imported_beside_the_linear_answer(cbramod, tmp_path):
    dataset, settings = dataset_of(), {"linear_answer": "best", "fine_tuning": "frozen"}
    trainer = trainer_of(
        dataset, tmp_path, pretrained=cbramod, trainer={"max_epochs": 1, "inner_folds": 1, **QUICK}, **settings
    )
    summary = trainer.train_and_validate()
    for name, tensor in decoder_on(dataset, cbramod).backbone.state_dict().items():
        torch.testing.assert_close(trainer.model.backbone.state_dict()[name], tensor, rtol=0, atol=0)
    assert set(summary["baselines"]) == {"majority", "linear", "functional_connectivity"}
    assert summary["linear_answer"]["network"]["share"] in (0, 0.25, 0.5, 0.75, 1)


def best_of(trainer):
    weights, _ = ExperimentFolder.at(trainer.folder.path).load_model()
    trainer.model.load_state_dict(weights)
    return trainer.model


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 250.0}, "the sampling frequency is 250 Hz here and 200 Hz there; .*--model.unlike_input convert"),
        ({"units": "arbitrary"}, "units are 'arbitrary' here and 'uV' there"),
        ({"units": "T"}, "units are 'T' here and 'uV' there"),
        ({"standardization": "per_run"}, "standardization is 'per_run or per_subject' here and 'none' there"),
        ({"names": [*FEW[1::-1], *FEW[2:]]}, r"order \(channel 0 is Fp2 here and Fp1 there\)"),
        ({"units": "V"}, "typical standard deviation is 1.*e\\+07 uV in sub-0, and 1 to 300 uV in EEG"),
        ({"offset": 4000.0}, "typical mean is 4e\\+03 uV in sub-0, and about 0 there"),
    ],
)
def test_eeg_that_is_not_what_the_weights_were_trained_on_is_refused_with_both_values(cbramod, settings, message):
    with pytest.raises(DataError, match=message):
        configs_of(dataset_of(**settings), cbramod)


@pytest.mark.parametrize("step", ["standardize", "amplitude_envelope"])
def test_steps_after_which_signals_are_no_eeg_are_refused(cbramod, step):
    people = [
        dataclasses.replace(recording(seed), preparation=({"step": step, "method": "per_run"},)) for seed in range(3)
    ]
    dataset = MultiSubjectDataset.from_arrays(*([one] for one in people), standardization="none")
    with pytest.raises(DataError, match=f"the step '{step}' was applied here and not there"):
        configs_of(dataset, cbramod)


def test_names_are_known_however_they_are_written(cbramod):
    others = {"T3": "T7", "T4": "t8", "T5": "EEG P7-REF", "T6": "P8.", "Fp1": "EEG FP1-LE"}
    configs = configs_of(dataset_of(names=[others.get(name, name) for name in CBRAMOD_NAMES]), cbramod)
    assert configs["model"].backbone_settings["input_columns"] is None
    unknown = ["a", "b", "c", "d", "e", "Fp1"]
    with pytest.warns(DataWarning, match=r"5 of 6 channels \(a, b, c, ..\) are none of the 19"):
        configs_of(dataset_of(names=unknown), cbramod)


def test_trials_shorter_than_a_patch_are_refused_and_what_is_not_read_is_told(cbramod):
    with pytest.raises(ConfigurationError, match="sampler.trial_length is 150, but must be at least 200 samples"):
        configs_of(dataset_of(trial=150), cbramod)
    with pytest.warns(DataWarning, match="the last 50 of 250 samples at 200 Hz"):
        configs_of(dataset_of(trial=250), cbramod)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backbone": "cbramod"}, "model.backbone is 'cbramod', but must be absent unless --pretrained"),
        ({"n_layers": 3}, "model.n_layers is 3, but must be absent: it has no effect on the backbone cbramod"),
        ({"pooling": "class_token"}, "model.pooling is 'class_token', but must be mean"),
        ({"embedder_from_pretrained": False}, "must be true for cbramod, whose first layers belong to its weights"),
    ],
)
def test_settings_without_effect_are_refused(cbramod, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        configs_of(dataset_of(), None if "backbone" in settings else cbramod, **settings)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": 0.5}, "the sampling frequency is 0.5 Hz here and 1 Hz there"),
        ({"standardization": "none"}, "typical standard deviation is 1.* in sub-0, and 1 there"),
        ({"standardization": "per_subject", "n_runs": 2}, "standardization is 'per_subject' here and 'per_run' there"),
        ({"names": PARCELS[:7]}, "has 7 channels, but .* takes 12 parcels"),
        ({"config": DatasetConfig(n_components=12)}, "takes channels as they were recorded, not 12 components"),
    ],
)
def test_fmri_that_is_not_what_the_weights_were_trained_on_is_refused_with_both_values(cortex_mae, settings, message):
    with pytest.raises(DataError, match=message):
        configs_of(dataset_of(**{"standardization": "per_run"} | FMRI | settings), cortex_mae)


@pytest.mark.filterwarnings("ignore::dynml.errors.DataWarning")
def test_a_decoder_on_parcels_learns_from_converted_trials(cortex_mae, tmp_path):
    dataset = dataset_of(**{"standardization": "per_run"} | FMRI | {"rate": 0.5})
    settings = {"pooling": "class_token", "unlike_input": "convert", "trainer": {"max_epochs": 1, **QUICK}}
    trainer = trainer_of(dataset, tmp_path, pretrained=cortex_mae, **settings)
    summary = trainer.train_and_validate()
    assert "resampled from 0.5 to 1 Hz; its weights are licensed CC BY-NC 4.0" in summary["findings"][-1]


def test_parcels_of_known_names_are_put_in_order_or_refused(tmp_path):
    path = imported(tmp_path, cortex_mae_checkpoint(n_layers=1), "cortex_mae", channel_names=PARCELS)
    settings = {"standardization": "per_run"} | FMRI
    with pytest.raises(DataError, match=r"another order \(channel 0 is parcel_11 here and parcel_0 there\)"):
        configs_of(dataset_of(**settings | {"names": PARCELS[::-1]}), path)
    with pytest.raises(DataError, match="channels are x, parcel_1, parcel_2, .. here and parcel_0"):
        configs_of(dataset_of(**settings | {"names": ["x", *PARCELS[1:]]}), path)
