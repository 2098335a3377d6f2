#!/bin/sh
# Compiles the libpq program where it lies.
set -eu
exec cc -std=gnu11 -Wall -Wextra -Werror -O1 -g -I"$(pg_config --includedir)" -o libpq-checks checks.c report.c -L"$(pg_config --libdir)" -lpq
