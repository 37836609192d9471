#!/usr/bin/env bash
. "$LIB"
self_signed server
