#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whole models on every emulated chip: one model.yj holds a program for this machine and for each chip; each runs, and every
# output must have the host's bytes. A small decoder (three runs, each starting from the cache that the one before left) and
# PaddleOCR's recogniser ($YUNJIN_MODELS or .cache/models). What cannot run is said aloud.
# By default a few chips and a narrow picture; EMULATED_ALL=1: every chip and vector length. EMULATED_COLUMNS: the width of
# the picture. MODEL_BITS=FILE writes the table into FILE, in place of the one that was there, with all chips.
# label: release-only (the time goes into emulated machine code, which no sanitizer sees)
set -u
: "${BUILD:?}" "${SOURCE:?}"
yunjin=$BUILD/yunjin
skip() { echo "skipped: $*"; exit 77; }
qemu=$(bash "$SOURCE/tests/get_qemu.sh" 2>&1) || skip "$qemu"
[ -x "$yunjin" ] || skip "build/yunjin is not built"
/usr/bin/python3 -c 'import onnx, numpy' 2>/dev/null || skip "python3-onnx is not installed"
export YUNJIN_QEMU=$qemu
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
targets=host,kunpeng920,kunpeng950,spacemit_x60,loongson_2k3000,loongson_3a6000
chips=(kunpeng920 kunpeng950 spacemit-x60 loongson-2k3000 loongson-3a6000)
columns=${EMULATED_COLUMNS:-8}
if [ -n "${EMULATED_ALL:-}${MODEL_BITS:-}" ]; then
    targets+=,phytium,aarch64_sve,riscv64_rvv,xuantie_c920v2
    chips+=(phytium aarch64-sve.128 aarch64-sve.256 aarch64-sve.512 riscv64-rvv.128 riscv64-rvv.256 xuantie-c920v2)
    columns=${EMULATED_COLUMNS:-32}
fi
failed=0
declare -A table

# same MODEL CHIP FOLDER-OF-HOST FOLDER-OF-CHIP: the chip's outputs have the host's bytes
same() {
    local f n=0
    for f in "$3"/*; do
        cmp -s "$f" "$4/$(basename "$f")" || { echo "$1 on $2: $(basename "$f") differs from the host's"; return 1; }
        n=$((n + 1))
    done
    [ "$n" -gt 0 ] && [ "$(ls "$3" | wc -l)" = "$(ls "$4" | wc -l)" ]
}

# verdict MODEL CHIP CODE LOG: what the table says after a run that ended with CODE
verdict() {
    if [ "$3" = 0 ]; then
        table[$1,$2]="emulated, same bits"
    elif grep -qE 'is not installed|is not there|this [a-z0-9_]* machine has no' "$4"; then # no emulator, no harness, no such processor
        table[$1,$2]="skipped"
        echo "$1 on $2: skipped: $(cat "$4")"
    else
        table[$1,$2]="differs"
        failed=1
        cat "$4"
    fi
}

# --- the decoder: a prompt of 5 tokens, then two of one token each, on the cache that is left
decode() { # decode FOLDER OPTION...
    local folder=$1 turn states=() file
    shift
    for turn in 0 1 2; do
        "$yunjin" run "$work/decoder.yj" "$@" --output "$folder.$turn" "${states[@]}" --input input_ids="$work/ids$turn.npy" \
            --input seqlens_k="$work/last$turn.npy" --input total_sequence_length="$work/total$turn.npy" >/dev/null || return 1
        states=()
        for file in "$folder.$turn"/present_*; do
            states+=(--input "$(basename "$file" .npy | sed s/present/past/)=$file")
        done
    done
}

run_decoder() {
    /usr/bin/python3 "$SOURCE/examples/decoder/make_decoder.py" "$work/decoder.onnx" --layers 2 --hidden 64 --heads 4 --kv 2 --head 16 \
        --ffn 96 --vocab 128 --capacity 32 >/dev/null || return 1
    /usr/bin/python3 - "$work" <<'PY' || return 1
import numpy, sys
for turn, ids in enumerate([[3, 17, 99, 4, 120], [55], [8]]):
    total = 5 + turn
    for name, value in ("ids", numpy.array([ids], numpy.int64)), ("last", numpy.array([total - 1], numpy.int32)), ("total", numpy.array(total, numpy.int32)):
        numpy.save(f"{sys.argv[1]}/{name}{turn}.npy", value)
PY
    "$yunjin" compile "$work/decoder.onnx" --state 'past_*=present_*' --target "$targets" -o "$work/decoder.yj" || return 1
    decode "$work/decoder.host" || return 1
    local chip turn code
    for chip in "${chips[@]}"; do
        decode "$work/decoder.$chip" --target "$chip" --emulate 2>"$work/log"
        code=$?
        for turn in 0 1 2; do
            [ $code != 0 ] || same decoder "$chip" "$work/decoder.host.$turn" "$work/decoder.$chip.$turn" >"$work/log" || code=1
        done
        verdict decoder "$chip" $code "$work/log"
    done
}

# --- the recogniser, on one narrow picture of noise
run_recogniser() {
    local model chip code start
    if grep -q '^YUNJIN_SANITIZE:[A-Z]*=address' "$BUILD/CMakeCache.txt"; then
        echo "PP-OCR rec: skipped: compiling it under sanitizers takes minutes; the release build does it"
        for chip in "${chips[@]}"; do table[rec,$chip]="skipped"; done
        return 0
    fi
    for model in "${YUNJIN_MODELS:-}" "$SOURCE/.cache/models" ""; do
        [ -s "$model/ch_PP-OCRv4_rec_infer.onnx" ] && break
    done
    if [ -z "$model" ]; then
        echo "PP-OCR rec: skipped: YUNJIN_MODELS names no folder with ch_PP-OCRv4_rec_infer.onnx"
        for chip in "${chips[@]}"; do table[rec,$chip]="skipped"; done
        return 0
    fi
    model=$model/ch_PP-OCRv4_rec_infer.onnx
    /usr/bin/python3 - "$work/picture.npy" "$columns" <<'PY' || return 1
import numpy, sys
noise = numpy.random.default_rng(5).random((1, 3, 48, int(sys.argv[2])), numpy.float32)
numpy.save(sys.argv[1], noise * 2 - 1)
PY
    "$yunjin" compile "$model" --target "$targets" -o "$work/rec.yj" || return 1
    "$yunjin" run "$work/rec.yj" --input "$work/picture.npy" --output "$work/rec.host" >/dev/null || return 1
    for chip in "${chips[@]}"; do
        start=$SECONDS
        "$yunjin" run "$work/rec.yj" --target "$chip" --emulate --input "$work/picture.npy" --output "$work/rec.$chip" >/dev/null 2>"$work/log"
        code=$?
        [ $code != 0 ] || same rec "$chip" "$work/rec.host" "$work/rec.$chip" >"$work/log" || code=1
        verdict rec "$chip" $code "$work/log"
        echo "rec on $chip: $((SECONDS - start)) s"
    done
}

print_table() {
    echo "| chip | decoder, 2 layers, 7 tokens | PP-OCR rec, 48 x $columns |"
    echo "|---|---|---|"
    local chip
    for chip in "${chips[@]}"; do echo "| $chip | ${table[decoder,$chip]:-failed} | ${table[rec,$chip]:-failed} |"; done
}

write_table() {
    local title="## Whole models"
    [ ! -f "$1" ] || sed "/^$title\$/,\$d" "$1" >"$work/before"
    {
        [ ! -s "$work/before" ] || sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' "$work/before"
        printf '\n%s\n\nEvery output of a run under an emulator against the same model.yj on %s, byte by byte.\n' "$title" "$(uname -m)"
        printf 'Made by `MODEL_BITS=docs/bits.md`, with `BUILD` and `SOURCE` set, before `bash tests/compiler/emulated_models.sh`, after the table above.\n\n'
        print_table
    } >"$work/after" && cp "$work/after" "$1"
}

run_decoder || { echo "the decoder could not be made and run here"; failed=1; }
run_recogniser || { echo "PP-OCR rec could not be compiled and run here"; failed=1; }
print_table
[ -z "${MODEL_BITS:-}" ] || write_table "$MODEL_BITS"
exit $failed
