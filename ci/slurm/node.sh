#!/bin/sh
# Prolog and Epilog of a node, as root, before and after each job: brings the host back after a job that was killed, and harms nothing otherwise.
# In slurm.conf:
#   Prolog=/opt/evenkeel/node.sh
#   Epilog=/opt/evenkeel/node.sh
# A node that cannot be brought back is drained by Slurm: it must not be measured on. A run of this very job that is still under way is asked to end;
# any other is left alone.
set -eu
tool=${EVENKEEL:-/opt/evenkeel/evenkeel}
exec "$tool" restore --end-holder "SLURM_JOB_ID=$SLURM_JOB_ID"
