#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every C file is as .clang-format says (clang-format 14, Debian 12's: other versions break lines elsewhere).
cd "$SOURCE" || exit 1
command -v clang-format >/dev/null || { echo "skipped: no clang-format"; exit 77; }
clang-format --version | grep -q 'version 14\.' || { echo "skipped: another clang-format: $(clang-format --version)"; exit 77; }
find bench comm compiler examples include ir runtime targets tests -name '*.[ch]' -print0 |
    xargs -0 clang-format --dry-run --Werror 2>&1 | grep -m 20 'error:' && exit 1
exit 0
