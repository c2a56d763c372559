#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No collective moves a byte past the engine: only engine.c takes and posts messages of a transport, and comm stands on
# nothing but runtime/base.
set -u
cd "${SOURCE:?}/comm" || exit 1
bad=0
calls=$(grep -nE -- '->(reserve|post|lend|arrived|release|settled)\(' *.c | grep -v '^engine\.c:')
[ -z "$calls" ] || { echo "messages are moved outside engine.c:"; echo "$calls"; bad=1; }
grep -qE -- '->post\(' engine.c || { echo "this test looks for the wrong words"; bad=1; }
includes=$(grep -nE '#include [<"](ir|compiler|targets|runtime/[^b]|llvm)' ./*.c ./*.h)
[ -z "$includes" ] || { echo "comm includes what it must not:"; echo "$includes"; bad=1; }
exit $bad
