#!/bin/bash
# Pictures scored by so many processes at a time, a shard each, on one machine:   examples/xargs.sh my_photos scores
# Killed or stopped, the same command goes on. Then:   python -m koniq merge scores/part_*.csv --out all.csv
set -u
shards=${SHARDS:-8}
at_a_time=${AT_A_TIME:-2}
pictures=$1
scores=${2:-scores}
mkdir -p "$scores"
# Of a process, 3 is that it is done, with rows that say why some pictures have no score.
seq "$shards" | xargs -P "$at_a_time" -I{} bash -c '"$@"; code=$?; [ "$code" -eq 3 ] || exit "$code"' shard \
    "${PYTHON:-python}" -m koniq score "$pictures" --shard "{}/$shards" --out "$scores/part_{}.csv" "${@:3}"
