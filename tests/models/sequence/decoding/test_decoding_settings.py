import pytest
from decoding_data import TRIAL, configs_of, dataset_of, recording, small, without_events

from dynml import MultiSubjectDataset
from dynml.batches.loader_config import BatchLoaderConfig
from dynml.batches.sampler_config import BatchSamplerConfig
from dynml.errors import ConfigurationError, DataError, DataWarning
from dynml.models.sequence.decoding.config import DecodingConfig, settle
from dynml.models.sequence.decoding.settling import settle_with_data


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"backbone": "linaer"}, "model.backbone"),
        ({"backbone": "linear", "embedding_dim": 64}, "model.embedding_dim"),
        ({"backbone": "linear", "pooling": "mean"}, "model.pooling"),
        ({"backbone": "autoencoder", "pooling": "attention"}, "model.pooling"),
        ({"backbone": "cortex_mae", "pooling": "attention"}, "model.pooling"),
        ({"backbone": "csm", "linear_rank": 2}, "model.linear_rank"),
        ({"backbone": "csm", "embedding_dim": 10, "n_heads": 3}, "model.n_heads"),
        ({"fine_tuning": "linear_probe", "embedder_from_pretrained": False}, "model.embedder_from_pretrained"),
        ({"label_smoothing": 1.0}, "model.label_smoothing"),
        ({"layer_learning_rate_decay": 0.0}, "model.layer_learning_rate_decay"),
        ({"class_weights": "inverse"}, "model.class_weights"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, key):
    with pytest.raises(ConfigurationError) as caught:
        DecodingConfig(target="stimulus", **settings)
    assert caught.value.key == key


def test_a_target_is_needed_and_must_not_contradict_the_sampler():
    configs = {"model": DecodingConfig(), "sampler": BatchSamplerConfig(), "loader": BatchLoaderConfig()}
    with pytest.raises(ConfigurationError, match="label column of the events"):
        settle(configs)
    configs |= {"model": DecodingConfig(target="stimulus"), "sampler": BatchSamplerConfig(trials="other")}
    with pytest.raises(ConfigurationError, match="sampler.trials"):
        settle(configs)


def test_classes_counts_and_length_follow_from_the_data_and_settling_again_changes_nothing():
    dataset = dataset_of(2, 1, 1, n_runs=1)
    configs = configs_of(dataset, **small("csm"))
    assert configs["sampler"].trials == "stimulus"
    assert configs["sampler"].resolved_strategy == "trials"
    model = configs["model"]
    assert (model.class_names, model.class_counts, model.trial_length) == (["face", "house"], [8, 8], TRIAL)
    assert (model.time_precision, model.max_seconds) == (0.05, 3.2)
    assert settle_with_data(configs, dataset, None) == configs


def test_an_unknown_target_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigurationError, match="did you mean 'stimulus'"):
        configs_of(dataset_of(2, 1, 0), target="stimuli")
    plain = MultiSubjectDataset.from_arrays([without_events(recording(0))])
    with pytest.raises(ConfigurationError, match="neither events nor covariates"):
        configs_of(plain)


def test_one_class_in_training_is_refused_and_an_unseen_class_in_testing_is_named():
    one = MultiSubjectDataset.from_arrays([recording(0, classes=("face",))], [recording(1)])
    with pytest.raises(DataError, match="one class only \\(face\\)"):
        configs_of(one)
    unseen = MultiSubjectDataset.from_arrays([recording(0)], [], [recording(1, classes=("house", "face", "tool"))])
    with pytest.warns(
        DataWarning, match="testing subset has 4 trials of classes that no training trial has \\(tool\\)"
    ):
        configs = configs_of(unseen)
    assert configs["model"].class_names == ["face", "house"]


@pytest.mark.parametrize("values", ["classes", "labels"])
def test_trials_that_no_segment_holds_are_the_reason_that_is_given(values):
    dataset = dataset_of(2, 1, 0, n_runs=1)
    longest = int(dataset.training_set.segments.lengths.max())
    configs = {
        "model": DecodingConfig(target="stimulus", target_values=values),
        "sampler": BatchSamplerConfig(trials="stimulus", strategy="trials", trial_length=2 * longest + 2),
    }
    told = rf"none has half of its samples .* of {2 * longest + 2} samples .* longest segment has {longest} samples"
    with pytest.raises(DataError, match=told):
        settle_with_data(configs, dataset, None)


def test_chosen_classes_that_training_lacks_are_named():
    dataset = MultiSubjectDataset.from_arrays([recording(0)], [recording(1, classes=("tool",))])
    with pytest.raises(DataError, match=r"have none of model\.classes \(tool\) in stimulus"):
        configs_of(dataset, classes=["tool"])


def test_trials_of_labels_that_are_not_asked_for_are_left_out():
    dataset = dataset_of(2, 1, 0, n_runs=1, classes=("house", "face", "tool", "tool"))
    model = configs_of(dataset, classes=["tool", "face"])["model"]
    assert (model.class_names, model.class_counts) == (["face", "tool"], [4, 8])
    with pytest.raises(ConfigurationError, match="model.classes is 'tools'.*did you mean 'tool'"):
        configs_of(dataset, classes=["tools", "face"])


def test_trials_that_the_backbone_cannot_hold_are_refused():
    dataset = dataset_of(2, 1, 0)
    with pytest.raises(ConfigurationError, match="n_positions"):
        configs_of(dataset, **small("csm", n_positions=TRIAL))
    with pytest.raises(ConfigurationError, match="sampling interval"):
        configs_of(dataset, **small("csm", time_precision=0.5))


@pytest.mark.parametrize("settings", [{"fine_tuning": "frozen"}, {"embedder_from_pretrained": False}])
def test_nothing_is_kept_fixed_that_was_never_learnt(settings):
    with pytest.raises(ConfigurationError, match="unless --pretrained"):
        configs_of(dataset_of(2, 1, 0), **small("csm"), **settings)


def test_events_without_a_duration_need_a_stated_length():
    dataset = dataset_of(1, 1, 0)
    for one in dataset.signal_source._recordings.values():
        one.events.duration[one.events.labels["stimulus"] == 0] = 0
    accepted = (
        r"sampler\.trial_length is None, .* 8 of the 16 training trials of 'stimulus' have events without a duration"
    )
    with pytest.raises(ConfigurationError, match=accepted):
        configs_of(dataset)
    with pytest.raises(ConfigurationError, match="sampler.trial_length"):
        configs_of(dataset, sampler=BatchSamplerConfig(onset_shift=0.5))
    configs_of(dataset, sampler=BatchSamplerConfig(trial_length=6))
