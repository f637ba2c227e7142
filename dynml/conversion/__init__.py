"""Recordings on disk -> store: finds and checks all sources, fits and applies the preparation, writes.

In: folders, BIDS derivatives or a table, and a config. Out: a verified store, or one sentence and no file.

    create_store                   conversion/creation.py
      read_inputs                  JSON -> StoreConfig, one TimeseriesGroupConfig per group
      chosen_subsets               lists, the table's column, or a draw (subset_drawing)
      find_sources                 files, headers, rates, channels, events, confounds
                                   (sources/, bids/sources, events/reading); readers are guarded
                                   (readers/guard, readers/reading_process)
      check_agreement              channels and rates of all subjects
      fitted_chains                steps that need all training subjects (preparation/fitted)
      new_store                    a temporary file beside the target
        for each subject: prepared     on this process or several (subject_workers)
          read_recording           files -> Recording (conversion/subject_reading.py)
          chain.applied            then check_not_constant, standardized, rank_of
          joined_over_gaps         store/missing/gaps.py: gaps become rows of NaN (missing: mask)
          StoreWriter.add_group
        StoreWriter.add_fits
        faults_of_store            reads everything back; then the file is renamed
"""
