#!/usr/bin/env bash
# test.sh [SUBSTRING]: runs the tests whose name holds SUBSTRING; results in _results/. test.sh --help tells the options.
exec python3 -B "$(dirname "$0")/harness/run.py" test "$@"
