/* SPDX-License-Identifier: Apache-2.0
 *
 * Moves the lines of an object to where the text of its kernel stands in the text of its program. The one idea: in a
 * DWARF line table (version 4, section 6.2) only steps from outside of the kernel's lines into them and back are large,
 * and such a step is a number of four bytes, which has room for the step to any other place: nothing changes its size.
 */
#include "compiler/lines.h"

#include <elf.h>

/* What is read, and where it may go on to. */
struct reader {
    uint8_t *at, *end;
    bool failed;
};

static uint64_t take(struct reader *r, int bytes) {
    uint64_t value = 0;
    if (r->end - r->at < bytes) {
        r->failed = true;
        r->at = r->end;
        return 0;
    }
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)*r->at++ << 8 * i;
    return value;
}

/* LEB128, of which the lowest 64 bits count. */
static int64_t take_leb(struct reader *r, bool is_signed) {
    uint64_t value = 0, byte;
    int shift = 0;
    do {
        byte = take(r, 1);
        if (shift < 64) value |= (byte & 127) << shift;
        shift += 7;
    } while (byte & 128);
    if (is_signed && byte & 64 && shift < 64) value |= ~UINT64_C(0) << shift;
    return (int64_t)value;
}

/* A signed LEB128 in exactly BYTES; false if it does not fit. */
static bool put_leb(uint8_t *at, int64_t bytes, int64_t value) {
    for (int64_t i = 0; i < bytes; i++, value >>= 7)
        at[i] = (uint8_t)((value & 127) | (i + 1 < bytes ? 128 : 0));
    return value == 0 || value == -1 ? (value < 0) == ((at[bytes - 1] & 64) != 0) : false;
}

/* --- one table --- */

enum { COPY = 1, ADVANCE_PC, ADVANCE_LINE, FIXED_ADVANCE_PC = 9, END_SEQUENCE = 1 };

struct table {
    struct reader r;
    int64_t line, shift; /* line: as it was read */
    int line_base, line_range, opcode_base;
    const uint8_t *lengths; /* operands of standard opcode i + 1 */
    bool too_far;
};

static int64_t moved(const struct table *t, int64_t line) {
    return line > LINES_BASE ? line + t->shift : line;
}

static void advance_line(struct table *t) {
    uint8_t *at = t->r.at;
    int64_t to = t->line + take_leb(&t->r, true), step = moved(t, to) - moved(t, t->line);
    if (!t->r.failed && step != to - t->line && !put_leb(at, t->r.at - at, step)) t->too_far = true;
    t->line = to;
}

static void extended(struct table *t) {
    int64_t bytes = take_leb(&t->r, false);
    if (bytes < 1 || bytes > t->r.end - t->r.at) {
        t->r.failed = true;
        return;
    }
    if (*t->r.at == END_SEQUENCE) t->line = 1;
    t->r.at += bytes;
}

static void run_program(struct table *t) {
    t->line = 1;
    while (t->r.at < t->r.end && !t->r.failed) {
        int opcode = (int)take(&t->r, 1);
        if (opcode >= t->opcode_base) {
            t->line += t->line_base + (opcode - t->opcode_base) % t->line_range;
        } else if (opcode == 0) {
            extended(t);
        } else if (opcode == ADVANCE_LINE) {
            advance_line(t);
        } else if (opcode == FIXED_ADVANCE_PC) {
            take(&t->r, 2);
        } else {
            for (int i = 0; i < t->lengths[opcode - 1]; i++)
                take_leb(&t->r, false);
        }
    }
}

/* The unit at the reader; it goes on behind it. */
static enum yj_status move_unit(struct reader *r, int64_t first) {
    struct table t = {.shift = first - 1 - LINES_BASE};
    uint64_t bytes = take(r, 4);
    t.r = (struct reader){r->at, bytes <= (uint64_t)(r->end - r->at) ? r->at + bytes : r->at, false};
    r->at = t.r.end;
    uint64_t version = take(&t.r, 2), header = take(&t.r, 4);
    uint8_t *program = header <= (uint64_t)(t.r.end - t.r.at) ? t.r.at + header : t.r.end;
    take(&t.r, 3); /* bytes of an instruction, operations in one, whether rows are statements */
    t.line_base = (int8_t)take(&t.r, 1);
    t.line_range = (int)take(&t.r, 1);
    t.opcode_base = (int)take(&t.r, 1);
    t.lengths = t.r.at;
    if (t.r.failed || version != 4 || !t.line_range || t.opcode_base < 10 || t.r.at + t.opcode_base > program)
        return report(YJ_ERR_INTERNAL, "a line table of version %d is not as it should be", (int)version);
    t.r.at = program;
    run_program(&t);
    if (t.r.failed) return report(YJ_ERR_INTERNAL, "a line table ends too early");
    return t.too_far ? report(YJ_ERR_INTERNAL, "line %lld is too far for a line table", (long long)first) : YJ_OK;
}

/* --- the object --- */

static const Elf64_Shdr *find_section(const char *object, size_t bytes, const char *name) {
    const Elf64_Ehdr *head = (const void *)object;
    if (bytes < sizeof *head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_ident[EI_CLASS] != ELFCLASS64 ||
        head->e_shoff > bytes || (bytes - head->e_shoff) / sizeof(Elf64_Shdr) < head->e_shnum ||
        head->e_shstrndx >= head->e_shnum)
        return NULL;
    const Elf64_Shdr *all = (const void *)(object + head->e_shoff), *names = &all[head->e_shstrndx];
    for (int i = 0; i < head->e_shnum; i++) {
        uint64_t at = names->sh_offset + all[i].sh_name;
        if (at < bytes && strlen(name) < bytes - at && !strcmp(object + at, name)) return &all[i];
    }
    return NULL;
}

enum yj_status lines_move(char *object, size_t bytes, int64_t first) {
    const Elf64_Shdr *section = find_section(object, bytes, ".debug_line");
    if (!section) return YJ_OK;
    if (section->sh_offset > bytes || section->sh_size > bytes - section->sh_offset)
        return report(YJ_ERR_INTERNAL, "an object with a section outside of it");
    uint8_t *at = (uint8_t *)object + section->sh_offset;
    struct reader r = {at, at + section->sh_size, false};
    while (r.at < r.end)
        TRY(move_unit(&r, first));
    return YJ_OK;
}
