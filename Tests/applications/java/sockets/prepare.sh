#!/usr/bin/env bash
. "$LIB"

javac -Xlint:all -d classes "$TEST_DIR"/*.java
