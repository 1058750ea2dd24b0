#!/bin/sh
# Trains the @COUNT@ tasks of a sweep: sh SCRIPT [JOBS], JOBS at a time (1). Run it again after an interruption: tasks that are done are
# left out, and the others go on from their last checkpoints.
if [ "${1:-}" = task ]; then
    # A task that is killed must not end the others: xargs stops if the command that it runs is.
    @COMMAND@ --task "$2" --no-control -q || exit 1
    exit
fi
seq 1 @COUNT@ | xargs -P "${1:-1}" -I TASK sh "$0" task TASK
