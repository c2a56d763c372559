/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads tuning files. A line is four words; whatever is not understood is refused with its line, so that a typing error
 * never leaves a rule without effect unnoticed.
 */
#include "comm/tuning.h"
#include "runtime/base/base.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static bool parse_number(const char **at, bool bytes, uint64_t *value) {
    char *end;
    errno = 0;
    if (**at < '0' || **at > '9') return false;
    unsigned long long n = strtoull(*at, &end, 10);
    int shift = !bytes ? 0 : *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (errno || (shift && n > UINT64_MAX >> shift)) return false;
    *value = (uint64_t)n << shift, *at = end + (shift > 0);
    return true;
}

/* "*", "8", "8..", "8..64K" */
static bool parse_range(const char *text, bool bytes, uint64_t most, uint64_t *low, uint64_t *high) {
    *low = 0, *high = most;
    if (!strcmp(text, "*")) return true;
    if (!parse_number(&text, bytes, low)) return false;
    *high = *low;
    if (!*text) return *high <= most;
    if (strncmp(text, "..", 2)) return false;
    text += 2, *high = most;
    if (*text && (!parse_number(&text, bytes, high) || *text)) return false;
    return *low <= *high && *high <= most;
}

static enum yj_status parse_rule(const char *name, int line, char *word[4], struct tuning_rule *rule) {
    const struct collective *c = collective_named(word[0]);
    uint64_t fewest, most;
    if (!c) return report(YJ_ERR_INPUT, "%s:%d: no collective is called '%s'", name, line, word[0]);
    const struct algorithm *row = algorithm_named(c->number, word[3]);
    if (!row) return report(YJ_ERR_INPUT, "%s:%d: %s has no algorithm called '%s'", name, line, c->name, word[3]);
    if (!parse_range(word[1], true, UINT64_MAX, &rule->low, &rule->high))
        return report(YJ_ERR_INPUT, "%s:%d: '%s' is no range of bytes such as 0..64K, 1M.. or *", name, line, word[1]);
    if (!parse_range(word[2], false, INT_MAX, &fewest, &most))
        return report(YJ_ERR_INPUT, "%s:%d: '%s' is no range of ranks such as 2..16, 64.. or *", name, line, word[2]);
    rule->fewest = (int32_t)fewest, rule->most = (int32_t)most;
    rule->row = algorithm_index(row), rule->line = line;
    return YJ_OK;
}

static enum yj_status parse_line(const char *name, int line, char *text, struct tuning *tuning) {
    char *word[5], *rest = NULL;
    int n = 0;
    text[strcspn(text, "#")] = 0;
    for (char *w = strtok_r(text, " \t\r", &rest); w && n < 5; w = strtok_r(NULL, " \t\r", &rest))
        word[n++] = w;
    if (n == 0) return YJ_OK;
    if (n != 4)
        return report(YJ_ERR_INPUT, "%s:%d: a rule is four words: COLLECTIVE BYTES RANKS ALGORITHM", name, line);
    if (tuning->n == TUNING_RULES) return report(YJ_ERR_INPUT, "%s:%d: more than %d rules", name, line, TUNING_RULES);
    return parse_rule(name, line, word, &tuning->rule[tuning->n++]);
}

enum yj_status tuning_parse(const char *name, const char *source, struct tuning *tuning) {
    *tuning = (struct tuning){0};
    for (int line = 1; *source; line++) {
        size_t n = strcspn(source, "\n");
        char text[256];
        if (n >= sizeof text) return report(YJ_ERR_INPUT, "%s:%d: longer than 255 characters", name, line);
        memcpy(text, source, n);
        text[n] = 0;
        source += n + (source[n] == '\n');
        TRY(parse_line(name, line, text, tuning));
    }
    return YJ_OK;
}

enum yj_status tuning_read(const char *path, struct tuning *tuning) {
    enum { MOST = 64 << 10 };
    FILE *file = fopen(path, "rb");
    if (!file) return report(YJ_ERR_INPUT, "%s: %s", path, strerror(errno));
    char *text = malloc(MOST + 1);
    size_t n = text ? fread(text, 1, MOST + 1, file) : 0;
    bool bad = ferror(file);
    fclose(file);
    enum yj_status status = YJ_OK;
    if (!text) return report(YJ_ERR_MEMORY, "out of memory for %s", path);
    if (bad || n > MOST || memchr(text, 0, n))
        status = report(YJ_ERR_INPUT, "%s: it is not a text of at most %d bytes", path, MOST);
    if (status == YJ_OK) text[n] = 0, status = tuning_parse(path, text, tuning);
    free(text);
    return status;
}

bool tuning_matches(const struct tuning_rule *rule, int collective, uint64_t bytes, int ranks) {
    return (int)algorithm_at(rule->row)->collective == collective && bytes >= rule->low && bytes <= rule->high &&
           ranks >= rule->fewest && ranks <= rule->most;
}
