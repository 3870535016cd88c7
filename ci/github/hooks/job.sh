#!/bin/sh
# Hook of a self-hosted runner, before and after each job: brings the host back after a job that was killed, and harms nothing otherwise.
# In the runner's `.env`:
#   ACTIONS_RUNNER_HOOK_JOB_STARTED=/opt/evenkeel/job.sh
#   ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/opt/evenkeel/job.sh
# A host that cannot be brought back fails the job: it must not be measured on.
#
# A run as root is out of the runner's reach: of a job that is cancelled it goes on. So a run under way that a job of this runner started is asked
# to end, and restores the host itself. One of somebody else (by hand, of another runner) is left alone, and fails this job.
set -eu
tool=${EVENKEEL:-/opt/evenkeel/evenkeel}
set -- restore
if [ -n "${RUNNER_NAME:-}" ]; then set -- "$@" --end-holder "RUNNER_NAME=$RUNNER_NAME"; fi
if [ "$(id -u)" = 0 ]; then
  exec "$tool" "$@"
fi
exec sudo -n "$tool" "$@"
