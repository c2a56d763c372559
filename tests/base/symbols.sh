#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libyunjin-base exports yj_ names only (a preloaded library must not take the place of a program's functions), and each
# function of base.h and dim.h is among them; what only dim_impl.h declares stays inside.
set -eu
library=$BUILD/libyunjin-base.so
[ -e "$library" ] || { echo "skipped: $library is not built"; exit 77; }
exported=$(nm -D --defined-only "$library" | awk '$2 ~ /^[TtDdBbRrVvWw]$/ { sub(/@.*/, "", $3); print $3 }' | sort -u)
bad=0

strangers=$(grep -v '^yj_' <<<"$exported" || true)
[ -z "$strangers" ] || { echo "exported without the prefix yj_:" $strangers; bad=1; }

for name in yj_error_text yj_status_name yj_dtype_bytes yj_dtype_name yj_log_set; do
    grep -qx "$name" <<<"$exported" || { echo "not exported: $name"; bad=1; }
done

# All functions that the objects of the room define, by the names of their sources.
for source in "$SOURCE"/runtime/base/*.c; do
    object=$BUILD/CMakeFiles/room-base.dir/runtime/base/$(basename "$source").o
    for symbol in $(nm --defined-only "$object" | awk '$2 == "T" { print $3 }'); do
        case $symbol in
        yj_*) grep -qx "$symbol" <<<"$exported" || { echo "not exported: $symbol"; bad=1; } ;;
        *) grep -q "\b$symbol(" "$SOURCE/runtime/base/dim_impl.h" ||
               { echo "$symbol has no line in names.h and is not private to dim"; bad=1; } ;;
        esac
    done
done
[ "$(wc -w <<<"$exported")" -ge 60 ] || { echo "too few names found: the test does not see the library"; bad=1; }
exit $bad
