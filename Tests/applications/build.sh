#!/usr/bin/env bash
# build.sh [SUBSTRING]: installs what the tests whose name holds SUBSTRING need (Debian's packages, PyPI's into .cache);
# with ENGINE=docker or podman it builds their images too.
exec python3 -B "$(dirname "$0")/harness/run.py" build "$@"
