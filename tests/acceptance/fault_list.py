"""Faults that a run may meet, and the tests that show what each of them yields.

    python -m pytest $(python tests/acceptance/fault_list.py)

runs them all. Tests that need a GPU are skipped by name where there is none.
"""

from __future__ import annotations

FAULTS: dict[str, tuple[str, ...]] = {
    # ------------------------------------------------------------------ data
    "a bit flips in a chunk": (
        "acceptance/test_faults.py::test_a_flipped_bit_is_found_before_training",
        "store/test_store_reading.py::test_a_flipped_bit_in_the_data_is_caught_and_named",
        "store/test_store_reading.py::test_any_flipped_bit_is_a_fault_or_harmless_but_never_a_crash",
    ),
    "a store is truncated": (
        "acceptance/test_faults.py::test_a_truncated_store_and_a_foreign_file_are_one_sentence",
        "store/test_store_reading.py::test_a_truncated_store_is_named_with_its_size",
    ),
    "a conversion is killed": (
        "scripts/test_store_scripts.py::test_a_killed_creation_leaves_the_old_store_or_nothing_and_the_next_sweeps_up",
        "scripts/test_store_scripts.py::test_an_interrupted_creation_cleans_up",
    ),
    "the disk is full": (
        "scripts/test_store_scripts.py::test_a_full_disk_leaves_the_old_store_and_nothing_else",
        "foundation/test_files.py::test_a_full_disk_is_one_sentence_and_the_old_set_stays",
        "acceptance/test_faults_of_runs.py::test_a_full_disk_at_a_checkpoint_is_one_sentence_and_leaves_the_one_before",
    ),
    "a file is no store, or of a later format": (
        "store/test_store_reading.py::test_what_is_no_store_is_refused",
        "store/test_store_reading.py::test_a_future_format_is_refused_with_both_versions",
    ),
    "a dataset or attribute is missing": (
        "store/test_store_reading.py::test_missing_parts_are_named",
        "store/test_store_reading.py::test_missing_datasets_are_named",
        "store/test_store_reading.py::test_missing_attributes_are_named",
    ),
    "numbers of channels differ": (
        "conversion/test_store_inputs.py::test_channel_counts_that_differ_name_the_odd_subject",
    ),
    "names or order of channels differ": (
        "conversion/test_store_inputs.py::test_channel_names_and_their_order_must_agree",
        "conversion/test_store_order.py::test_each_stored_column_is_the_channel_of_its_name",
        "conversion/test_store_order.py::test_another_order_stays_refused_where_it_was_not_asked_for",
    ),
    "arrays are transposed": ("conversion/test_store_inputs.py::test_transposed_arrays_are_recognized",),
    "samples are NaN or infinite": (
        "conversion/test_store_creation.py::test_missing_samples_are_refused_by_name",
        "conversion/test_store_creation.py::test_missing_samples_are_cut_out_of_the_segments",
        "conversion/test_store_creation.py::test_a_channel_missing_throughout_is_refused_even_under_mask",
    ),
    "masked stretches must be marginalised": (
        "ops/hmm/test_gaussian_hmm_masked.py::test_likelihoods_probabilities_and_paths_are_those_of_all_paths",
        "models/dynemo/test_dynemo_masked.py::test_nothing_that_lies_at_a_masked_sample_reaches_the_bound_or_a_gradient",
        "models/sequence/test_sequence_masked.py::"
        "test_in_training_gradients_of_windows_with_nothing_observed_are_finite_and_weigh_nothing",
    ),
    "channels are constant, duplicated or rank-deficient": (
        "conversion/test_store_creation.py::test_a_constant_channel_is_refused_by_name",
        "conversion/test_store_creation.py::test_duplicated_channels_are_stored_with_a_warning_and_the_rank",
        "conversion/test_store_creation.py::test_average_reference_has_one_rank_less_and_no_duplicates",
        "models/hmm/test_hmm_training.py::test_rank_deficient_data_without_a_prior_are_refused_and_with_one_trained",
    ),
    "samples are huge, in other units, or of half precision": (
        "conversion/test_store_creation.py::test_outliers_and_unscaled_units_are_told",
        "readers/test_readers_npz.py::test_float16_is_remarked_on",
        "dataset/test_dataset_arrays.py::test_whole_numbers_become_floats",
        "acceptance/test_faults_of_runs.py::test_a_huge_outlier_leaves_the_loss_finite",
    ),
    "a session is shorter than a window, or empty": (
        "batches/test_batch_sampler.py::test_segments_too_short_are_counted_in_a_warning",
        "batches/test_batch_sampler.py::test_a_window_longer_than_every_segment_names_the_longest",
        "conversion/test_store_inputs.py::test_runs_without_length_are_refused",
        "preparation/test_preparation_store.py::test_segments_too_short_for_the_filter_are_dropped_with_their_count",
    ),
    "lengths differ": (
        "ops/hmm/test_gaussian_hmm.py::test_order_of_segments_does_not_matter",
        "models/sequence/backbones/test_sequence_recurrent.py::test_padding_never_enters_the_encoder",
        "ops/lstm/test_lstm.py::test_padding_is_not_read_and_gives_zeros",
    ),
    "a participant is in training and validation": (
        "conversion/test_store_inputs.py::test_a_participant_in_two_subsets_is_refused_unless_runs_are_split",
        "store/test_store_reading.py::test_a_participant_on_both_sides_is_a_fault",
    ),
    "two processes write, or a file is locked": (
        "foundation/test_files.py::test_two_processes_cannot_hold_one_lock",
        "store/test_store_reading.py::test_a_file_that_is_being_written_is_locked",
    ),
    "workers are forked or spawned": (
        "batches/test_batch_loader.py::test_workers_read_the_same_batches",
        "batches/test_batch_loader.py::test_workers_may_be_spawned",
        "store/test_store_reading.py::test_an_open_store_serves_other_processes",
        "store/test_store_reading.py::test_no_handle_is_pickled_and_a_closed_store_opens_again",
    ),
    "paths have spaces, letters of other alphabets, links, no permission": (
        "conversion/test_store_creation.py::test_spaces_unicode_and_brackets_in_names",
        "conversion/test_store_creation.py::test_a_folder_that_cannot_be_written_to",
        "store/test_store_reading.py::test_a_file_without_permission_is_named",
        "acceptance/test_faults_of_runs.py::test_stores_and_recordings_may_be_links",
    ),
    # ------------------------------------------------------------------ settings
    "a setting is unknown, of a wrong type or out of range": (
        "acceptance/test_faults.py::test_a_wrong_setting_is_named_before_anything_is_made",
        "training/test_trainer.py::test_settings_that_cannot_be_used_are_refused_by_name",
        "acceptance/test_faults_of_runs.py::test_a_number_that_yaml_takes_for_text_is_a_number",
    ),
    "one state, one channel, one sample, batches larger than the data": (
        "acceptance/test_faults_of_runs.py::test_one_state_is_one_gaussian_in_batches_larger_than_the_data",
        "ops/hmm/test_gaussian_hmm.py::test_empty_data_and_single_state",
        "batches/test_batch_sampler.py::test_windows_of_one_sample_and_batches_larger_than_the_data",
    ),
    # ------------------------------------------------------------------ numbers
    "a state loses all samples": (
        "models/hmm/test_hmm_training.py::test_an_empty_state_is_frozen_with_a_warning",
        "models/hmm/test_hmm_training.py::test_a_revived_state_takes_its_share_and_explains_more_than_a_frozen_one",
        "models/hmm/test_hmm_training.py::test_more_states_than_short_data_can_hold_never_give_nan",
    ),
    "likelihoods underflow, or transitions are zero": (
        "ops/hmm/test_forward_backward.py::test_extreme_likelihoods_give_finite_posteriors_whose_rows_sum_to_one",
        "acceptance/test_faults_of_runs.py::test_a_row_of_transitions_that_is_zero_gives_finite_posteriors",
    ),
    "a loss or gradient is not finite": (
        "training/test_trainer.py::test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_batch",
        "training/test_trainer.py::test_a_loss_that_is_not_finite_is_skipped_when_asked_for_and_counted",
        "training/gradients/test_finite_losses.py::test_a_faulty_step_changes_nothing_and_is_counted",
    ),
    "EM raises its objective": (
        "acceptance/test_faults_of_runs.py::test_an_objective_that_em_raises_is_told",
        "models/hmm/test_hmm_training.py::test_em_never_raises_its_objective_and_stops_when_it_has_converged",
    ),
    "one seed, several threads, another device": (
        "acceptance/test_faults_of_runs.py::test_one_seed_gives_one_result_bit_for_bit",
        "ops/hmm/test_gaussian_hmm.py::test_the_number_of_threads_does_not_change_a_bit",
        "acceptance/test_faults_of_runs.py::test_a_gpu_comes_to_the_numbers_of_a_cpu",
    ),
    # ------------------------------------------------------------------ checkpoints
    "a run is killed at any time": (
        "acceptance/test_faults.py::test_kill_9_and_sigterm_at_random_times_lose_nothing_but_time",
        "foundation/test_files.py::test_kill_at_any_instant_leaves_a_complete_set",
    ),
    "a scheduler or Ctrl-C ends a run": (
        "acceptance/test_faults_of_runs.py::test_one_interruption_ends_a_run_with_all_saved_and_two_end_it_at_once",
        "acceptance/test_several_processes.py::test_a_signal_ends_all_processes_after_the_same_step",
    ),
    "the newest checkpoint, or all of them, are damaged": (
        "training/test_trainer.py::test_a_corrupt_checkpoint_falls_back_to_the_one_before_and_says_so",
        "foundation/test_files.py::test_a_damaged_set_is_recognised_and_the_older_one_is_used",
        "acceptance/test_faults_of_runs.py::test_checkpoints_that_are_all_damaged_are_refused_and_nothing_is_deleted",
    ),
    "a pickle or a header of weights is hostile": (
        "training/test_trainer.py::test_a_malicious_pickle_is_refused_and_never_executed",
        "exchange/test_restricted_pickle.py::test_nothing_in_a_pickle_is_executed",
        "acceptance/test_faults_of_runs.py::test_a_hostile_header_of_weights_is_refused",
    ),
    "a run goes on with another config, other data or other processes": (
        "acceptance/test_faults.py::test_going_on_with_another_model_or_other_data_is_refused_with_the_difference",
        "training/test_trainer.py::test_resuming_with_other_data_seed_or_windows_is_refused_with_the_difference",
        "acceptance/test_several_processes.py::test_a_run_goes_on_with_another_number_of_processes",
    ),
    "a run is finished, or goes on within an epoch": (
        "training/test_trainer.py::test_a_finished_run_has_nothing_to_do_and_more_epochs_equal_a_longer_run",
        "training/test_trainer.py::test_a_run_interrupted_after_any_batch_goes_on_to_the_same_numbers",
    ),
    "the clock was moved": (
        "acceptance/test_faults_of_runs.py::test_the_newest_checkpoint_is_not_chosen_by_the_clock",
    ),
    "a checkpoint of a GPU meets another machine": (
        "acceptance/test_faults_of_runs.py::test_a_model_of_a_gpu_loads_where_there_is_none",
        "acceptance/test_faults_of_runs.py::test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu",
        "acceptance/test_faults_of_runs.py::test_float64_on_a_mac_goes_by_the_cpu",
    ),
    "a logger is offline, or a process of several dies": (
        "training/loggers/test_comet_logger.py::test_what_fails_in_the_middle_makes_an_archive_of_all_of_it",
        "training/loggers/test_comet_logger.py::test_a_logger_that_fails_changes_nothing",
        "acceptance/test_several_processes.py::test_a_process_that_dies_ends_the_others_with_a_valid_checkpoint",
    ),
    "memory of a GPU runs out": (
        "acceptance/test_faults_of_runs.py::test_memory_of_a_gpu_that_runs_out_is_one_sentence_with_what_helps",
    ),
}
"""Fault to the tests of what it must yield."""

if __name__ == "__main__":
    print("\n".join(dict.fromkeys(f"tests/{test}" for tests in FAULTS.values() for test in tests)))
