#!/bin/bash
# A job array: sbatch SCRIPT. A task that is pre-empted or runs out of time writes a checkpoint and is queued again.
#SBATCH --job-name=@NAME@
#SBATCH --array=1-@COUNT@
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=@THREADS@
#SBATCH --output=%x-%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@@GRACE@
@LIMITS@
srun @COMMAND@ --task "$SLURM_ARRAY_TASK_ID" --no-control -q
status=$?
if [ "$status" = 130 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
