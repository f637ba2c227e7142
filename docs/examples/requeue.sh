#!/bin/bash
#SBATCH --time=01:00:00 --cpus-per-task=8 --signal=B:USR1@120 --requeue
export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
dynml_train_model.py hmm experiments my_hmm store.hdf5 bold --model.n_states 8 \
    --resume auto &
trap "kill -USR1 $!" USR1
wait $!; wait $!
[ $? -eq 138 ] && scontrol requeue "$SLURM_JOB_ID"
