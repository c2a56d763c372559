#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A chip is added without touching anything of Yunjin: as a shared object on YUNJIN_TARGET_PATH (listed, found, tried, refused
# when it is wrong), and as a folder of targets/ (CMake finds it).
# label: release-only (the time goes into emulated machine code, which no sanitizer sees)
set -u
yunjin="$BUILD/yunjin"
[ -x "$yunjin" ] || { echo "skipped: no $yunjin"; exit 77; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
fails=0
expect() { # WHAT EXIT-CODE TEXT COMMAND...
    local what="$1" code="$2" text="$3"; shift 3
    local out; out=$("$@" 2>&1); local got=$?
    if [ $got -ne "$code" ] || ! grep -q -- "$text" <<<"$out"; then
        echo "FAIL $what: exit $got, expected $code and '$text'"; echo "$out" | head -5; fails=$((fails + 1))
    fi
}
chip() { # NAME VERSION: a chip of its own, made from the facts of another
    sed -e 's/target_x86_64_v3/yj_target/' -e "s/\"x86-64-v3\",$/\"$1\",/;0,/\.name/s/\.name = .*/.name = \"$1\",/" \
        -e "s/YJ_TARGET_VERSION/$2/" -e 's/\.cpu = ".*"/.cpu = "x86-64-v3"/' "$SOURCE/targets/x86_64_v3/target.c" > "$work/$1.c"
    mkdir -p "$work/$1"
    cc -shared -fPIC -I "$SOURCE/include" -o "$work/$1/$1.so" "$work/$1.c" || { echo "skipped: no C compiler"; exit 77; }
}

expect "the list" 0 "loongson-3a6000" "$yunjin" targets
expect "one chip" 0 "tsv110" "$yunjin" targets kunpeng920
expect "the list as JSON" 0 '"total": ' "$yunjin" targets --json
expect "an unknown chip" 1 "known: host, " "$yunjin" targets no-such-chip
expect "only what can be compiled for is offered" 1 "known: host, aarch64-sve, hygon" "$yunjin" targets no-such-chip
expect "source text is marked" 0 "^c  .*source text for tests, --target does not take it" "$yunjin" targets
expect "too many words" 2 "usage" "$yunjin" targets a b

chip mychip YJ_TARGET_VERSION
chip oldchip 0
chip kunpeng920 YJ_TARGET_VERSION
export YUNJIN_CACHE="$work/cache"
expect "a chip from outside is listed" 0 "mychip.*from " env YUNJIN_TARGET_PATH="$work/mychip" "$yunjin" targets
expect "a chip from outside has its facts" 0 "x86_64-unknown-linux-gnu" env YUNJIN_TARGET_PATH="$work/mychip" "$yunjin" targets mychip
expect "a chip from outside is tried" 0 "mychip: [0-9]* ran, 0 assembled, 0 failed\|mychip: 0 ran, [0-9]* assembled, 0 failed" \
    env YUNJIN_TARGET_PATH="$work/mychip" "$yunjin" test target mychip
# a chip whose code this processor would die of: said, assembled, not run
lacking=""
for word in sse4a avx512vnni avx512f; do grep -qw "${word/avx512vnni/avx512_vnni}" /proc/cpuinfo || lacking=$word; done
if [ -n "$lacking" ]; then
chip farchip YJ_TARGET_VERSION
sed -i "s/\.minimum = .*/.minimum = \"avx2 $lacking\",/" "$work/farchip.c"
cc -shared -fPIC -I "$SOURCE/include" -o "$work/farchip/farchip.so" "$work/farchip.c"
expect "a chip that lacks what this machine has no words for" 0 "farchip names no emulator, and this .* machine " \
    env YUNJIN_TARGET_PATH="$work/farchip" "$yunjin" test target farchip
expect "it was assembled only" 0 "farchip: 0 ran, [1-9][0-9]* assembled, 0 failed" \
    env YUNJIN_TARGET_PATH="$work/farchip" "$yunjin" test target farchip
expect "its numbers add up" 0 '"assembled": [1-9]' \
    env YUNJIN_TARGET_PATH="$work/farchip" "$yunjin" test target farchip --json
else
    echo "not tried: a chip that this machine cannot run, for it has every word"
fi

wrong() { # FACT TEXT: the chip with this fact in place of its own is refused, with TEXT
    mkdir -p "$work/wrong"
    { sed 's/^};/FACT};/' "$work/mychip.c" | sed "s/FACT/    $1,\n/"; } > "$work/wrong.c"
    cc -w -shared -fPIC -I "$SOURCE/include" -o "$work/wrong/wrong.so" "$work/wrong.c" || { echo "FAIL $1 does not compile"; fails=$((fails + 1)); }
    expect "$1" 1 "target mychip: $2" env YUNJIN_TARGET_PATH="$work/wrong" "$yunjin" targets
}
wrong '.vector_bits = 100' 'vector_bits is 100; allowed: a power of two'
wrong '.vector_lengths = {128, 300}' 'vector_lengths\[1\] is 300'
wrong '.tiles = {{YJ_F32, 8, 13, 1}}' 'tiles\[0\] (f32): columns is 13; allowed: multiples of 8'
wrong '.tiles = {{YJ_F64, 8, 6, 1}}' 'tiles\[0\] (f64): columns is 6; allowed: multiples of 4'
wrong '.tiles = {{YJ_F32, 6, 16, 1}, {YJ_I8, 8, 16, 3}}' 'tiles\[1\] (i8): k_group is 3; allowed: 4'
wrong '.tiles = {{YJ_F32, -1, 16, 1}}' 'tiles\[0\] (f32): rows is -1'
wrong '.minimum = "avx2 avx9000"' 'minimum has the word "avx9000"; allowed for x86_64.*: .*avx2, '
wrong '.minimum = "asimd"' 'minimum has the word "asimd"'
wrong '.emitter = "lvm"' 'emitter is "lvm"; allowed: "llvm"'
wrong '.support = 7' 'support is 7'
expect "another version is refused" 1 "version" env YUNJIN_TARGET_PATH="$work/oldchip" "$yunjin" targets oldchip
expect "a name that is taken is refused" 1 "built in" env YUNJIN_TARGET_PATH="$work/kunpeng920" "$yunjin" targets
expect "a missing folder is named" 1 "$work/nowhere" env YUNJIN_TARGET_PATH="$work/nowhere" "$yunjin" targets
: > "$work/mychip/broken.so"
expect "a file that is no library is named" 1 "broken.so" env YUNJIN_TARGET_PATH="$work/mychip" "$yunjin" targets

# a folder more, and nothing else edited
mkdir "$work/tree"
(cd "$SOURCE" && tar cf - --exclude=./build* --exclude=./.git .) | tar xf - -C "$work/tree"
mkdir "$work/tree/targets/newchip"
sed -e 's/target_x86_64_v3/target_newchip/' -e '0,/\.name/s/\.name = .*/.name = "newchip",/' "$SOURCE/targets/x86_64_v3/target.c" \
    > "$work/tree/targets/newchip/target.c"
if cmake -S "$work/tree" -B "$work/tree/build" -DYUNJIN_TESTS=OFF > "$work/log" 2>&1; then
    grep -q "TARGET(newchip)" "$work/tree/build/gen/targets.def" || { echo "FAIL a new folder is not in the list"; fails=$((fails + 1)); }
else
    echo "FAIL cmake:"; tail -3 "$work/log"; fails=$((fails + 1))
fi
[ $fails -eq 0 ] && echo "all passed"
exit $((fails > 0))
