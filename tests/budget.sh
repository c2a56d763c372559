#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prints what is over the budget of docs/design.md, 7: files over 600 lines, public headers over 250, functions over 80, lines
# over 120. It informs; it does not fail. Needs universal-ctags for the functions.
cd "$(dirname "$0")/.." || exit 1
echo "files over 600 lines:"
git ls-files '*.c' '*.h' | xargs wc -l | awk '$2 != "total" && $1 > 600 {print "  " $1, $2}' | sort -rn
echo "public headers over 250 lines:"
wc -l include/yunjin/*.h | awk '$2 != "total" && $1 > 250 {print "  " $1, $2}'
echo "lines over 120:"
git ls-files '*.c' '*.h' | xargs awk 'length($0) > 120 {n[FILENAME]++} END {for (f in n) print "  " n[f], f}' | sort -rn
if command -v ctags >/dev/null; then
    echo "functions over 80 lines:"
    git ls-files '*.c' | ctags -L - --languages=C --kinds-C=f --fields=+ne -f - 2>/dev/null | awk -F'\t' '{
        s = e = 0
        for (i = 4; i <= NF; i++) { if ($i ~ /^line:/) s = substr($i, 6); if ($i ~ /^end:/) e = substr($i, 5) }
        if (e - s >= 80) print "  " e - s + 1, $2 ": " $1 }' | sort -rn
fi
