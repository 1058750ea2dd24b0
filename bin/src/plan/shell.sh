#!/bin/sh
# Trains the @COUNT@ tasks of a sweep: sh SCRIPT [JOBS], JOBS at a time (1). Run it again after an interruption: tasks that are done are
# left out, and the others go on from their last checkpoints.
seq 1 @COUNT@ | xargs -P "${1:-1}" -I TASK @COMMAND@ --task TASK --no-control -q
