/* SPDX-License-Identifier: Apache-2.0
 *
 * Layouts: where a block, and a slice of a block, lies. One idea: sizes follow from the number of the block alone, so
 * that sender and receiver agree without talking.
 */
#include "comm/schedule.h"
#include "runtime/base/base.h"

uint64_t layout_count(const struct layout *layout, int space, int block) {
    const struct layout_part *part = &layout->part[space];
    uint64_t blocks = (uint64_t)layout->blocks, b = (uint64_t)block % blocks;
    return part->counts ? part->counts[b] : part->count / blocks + (b < part->count % blocks);
}

static uint64_t elements_before(const struct layout *layout, int space, int block) {
    const struct layout_part *part = &layout->part[space];
    uint64_t blocks = (uint64_t)layout->blocks, b = (uint64_t)block % blocks, more = part->count % blocks;
    uint64_t periods = (uint64_t)block / blocks * part->count;
    if (part->only == block) return 0;
    return periods + (part->displs ? part->displs[b] : part->count / blocks * b + (b < more ? b : more));
}

/* Elements of a block that lie before SLICE. */
static uint64_t slice_start(const struct layout *layout, uint64_t count, int slice) {
    uint64_t unit = layout->element_bytes < 64 ? 64 / layout->element_bytes : 1;
    uint64_t units = count / unit + (count % unit > 0), n = (uint64_t)layout->slices;
    uint64_t start = (units / n * (uint64_t)slice + units % n * (uint64_t)slice / n) * unit;
    return start < count ? start : count;
}

size_t layout_slice_bytes(const struct layout *layout, int space, int block, int slice) {
    uint64_t count = layout_count(layout, space, block);
    return (slice_start(layout, count, slice + 1) - slice_start(layout, count, slice)) * layout->element_bytes;
}

char *layout_slice(const struct layout *layout, int space, int block, int slice, size_t *bytes) {
    uint64_t count = layout_count(layout, space, block), start = slice_start(layout, count, slice);
    *bytes = (slice_start(layout, count, slice + 1) - start) * layout->element_bytes;
    return layout->part[space].base + (elements_before(layout, space, block) + start) * layout->element_bytes;
}

enum yj_status layout_tmp_bytes(const struct layout *layout, const struct schedule *s, size_t *bytes) {
    uint64_t periods = s->blocks ? ((uint64_t)s->tmp_blocks + (uint64_t)s->blocks - 1) / (uint64_t)s->blocks : 0;
    size_t total;
    if (__builtin_mul_overflow(layout->part[SPACE_TMP].count, periods, &total) ||
        __builtin_mul_overflow(total, layout->element_bytes, &total))
        return report(YJ_ERR_INPUT, "%s of %llu elements on %d ranks needs more than 2^64 bytes of work space",
                      s->algorithm->name, (unsigned long long)layout->part[SPACE_TMP].count, s->size);
    *bytes = total;
    return YJ_OK;
}
