"""Batch -> weights: the trainer's loop, and what all families share of it.

In: a model, a sampler, a loader. Out: an experiment's folder. `run_state` says what a run is made of, `recorded_run`
what it writes down, `trainer` what happens when; a family overrides methods of the first and the last.

    run_training                           cli/commands/train.py
      MultiSubjectDataset, load_data       dataset/dataset.py
      HMMTrainer.train_and_validate        training/trainer.py
        initialize                         models/hmm/trainer.py
          make_start, run_em               n_init times (models/hmm/starts.py)
        for each epoch
          start_of_epoch                   maximization -> m_step (ops/hmm/m_step.py)
          for batch in BatchLoader.iterate batches/loader.py
            BatchSampler.batches(epoch)    batches/sampler.py -> Spans
            SubsetRows.packed              dataset/rows.py: rows of all spans end to end
            BatchLoader.on_device          Batch(signals (n, C), starts (n_spans + 1,), ..)
            run_one_batch -> e_step        ops/hmm/gaussian_hmm.py
              HMMPass.parts                ops/hmm/passes.py: chunks of rows, over threads
                Gaussians                  ops/gaussian.py: log-likelihoods (chunk, K)
                forward_backward           compiled loops on a CPU, a two-level scan on a GPU
                chunk_moments              weighted sums of x and x x^T, float64
            back_propagation               adds the batch's Statistics to the epoch's
          validate_one_epoch               the same passes, no statistics kept
          _close_epoch, save_checkpoint    training/recorded_run.py: best model, stop?
        final_report                       free energies, baselines, findings of the best model
"""
