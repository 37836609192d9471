#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/ssh.sh"
make_ssh_keys
