/* SPDX-License-Identifier: Apache-2.0
 *
 * YUNJIN_COMM: one table row a key, from which the parser, the printer and the message about an unknown key are made.
 */
#include "comm/settings.h"

#include <errno.h>
#include <stdlib.h>

enum kind { TEXT, INTEGER, SECONDS };

static const struct row {
    const char *key;
    enum kind kind;
    size_t offset, room;
    int64_t least, most, standard;
} rows[] = {
#define TEXT_ROW(key)                                                                                                  \
    { #key, TEXT, offsetof(struct settings, key), sizeof(((struct settings *)0)->key), 0, 0, 0 }
#define INT_ROW(key, least, most, standard)                                                                            \
    { #key, INTEGER, offsetof(struct settings, key), 0, least, most, standard }
    TEXT_ROW(transport),
    TEXT_ROW(address),
    TEXT_ROW(key),
    TEXT_ROW(host),
    TEXT_ROW(algorithm),
    TEXT_ROW(tuning),
    TEXT_ROW(record),
    INT_ROW(rank, 0, INT32_MAX, -1),
    INT_ROW(ranks, 1, INT32_MAX, 0),
    INT_ROW(cell, 4096, 1 << 24, 65536),
    INT_ROW(stream, 0, INT64_MAX, 256 << 10),
    INT_ROW(spin, 0, 1000000000, 100),
    INT_ROW(silence, 1, 3600000, 1000),
    {"deadline", SECONDS, offsetof(struct settings, deadline), 0, 1, 86400, 60},
};

static char *text_of(const struct row *row, struct settings *s) {
    return (char *)s + row->offset;
}
static int64_t *integer_of(const struct row *row, struct settings *s) {
    return (int64_t *)((char *)s + row->offset);
}
static double *seconds_of(const struct row *row, struct settings *s) {
    return (double *)((char *)s + row->offset);
}

void settings_default(struct settings *settings) {
    memset(settings, 0, sizeof *settings);
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].kind == INTEGER) *integer_of(&rows[i], settings) = rows[i].standard;
        if (rows[i].kind == SECONDS) *seconds_of(&rows[i], settings) = (double)rows[i].standard;
    }
}

static enum yj_status set(const struct row *row, const char *value, const char *source, struct settings *settings) {
    char *end = NULL;
    errno = 0;
    if (row->kind == TEXT) {
        if (strlen(value) >= row->room)
            return report(YJ_ERR_INPUT, "%s: the value of '%s' is longer than %zu characters", source, row->key,
                          row->room - 1);
        strcpy(text_of(row, settings), value);
        return YJ_OK;
    }
    if (row->kind == INTEGER) {
        long long n = strtoll(value, &end, 0);
        if (errno || end == value || *end || n < row->least || n > row->most)
            return report(YJ_ERR_INPUT, "%s: '%s=%s': give a whole number from %lld to %lld", source, row->key, value,
                          (long long)row->least, (long long)row->most);
        *integer_of(row, settings) = n;
        return YJ_OK;
    }
    double s = strtod(value, &end);
    if (errno || end == value || *end || !(s > 0) || s > (double)row->most)
        return report(YJ_ERR_INPUT, "%s: '%s=%s': give seconds, above 0 and at most %lld", source, row->key, value,
                      (long long)row->most);
    *seconds_of(row, settings) = s;
    return YJ_OK;
}

static enum yj_status unknown(const char *key, const char *source) {
    struct text known = {0};
    for (size_t i = 0; i < COUNT(rows); i++)
        text_add(&known, "%s%s", i ? ", " : "", rows[i].key);
    enum yj_status status =
        report(YJ_ERR_INPUT, "%s: unknown key '%s'; known: %s", source, key, known.failed ? "?" : known.data);
    text_free(&known);
    return status;
}

enum yj_status settings_parse(const char *text, const char *source, struct settings *settings) {
    for (const char *at = text; at && *at;) {
        size_t n = strcspn(at, ",");
        char item[256];
        if (n >= sizeof item) return report(YJ_ERR_INPUT, "%s: an item is longer than 255 characters", source);
        memcpy(item, at, n);
        item[n] = 0;
        at += n + (at[n] == ',');
        char *equal = strchr(item, '=');
        if (!equal) return report(YJ_ERR_INPUT, "%s: '%s' is not key=value", source, item);
        *equal = 0;
        size_t i = 0;
        while (i < COUNT(rows) && strcmp(rows[i].key, item))
            i++;
        if (i == COUNT(rows)) return unknown(item, source);
        TRY(set(&rows[i], equal + 1, source, settings));
    }
    const char *t = settings->transport;
    if (*t && strcmp(t, "shm") && strcmp(t, "tcp"))
        return report(YJ_ERR_INPUT, "%s: unknown transport '%s'; known: shm, tcp", source, t);
    if (settings->cell % 64) return report(YJ_ERR_INPUT, "%s: 'cell' is not a multiple of 64", source);
    return YJ_OK;
}

void settings_print(const struct settings *settings, struct text *text) {
    struct settings standard, copy = *settings;
    settings_default(&standard);
    const char *comma = "";
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        size_t before = text->n;
        if (row->kind == TEXT && *text_of(row, &copy))
            text_add(text, "%s%s=%s", comma, row->key, strcmp(row->key, "key") ? text_of(row, &copy) : "(set)");
        if (row->kind == INTEGER && *integer_of(row, &copy) != *integer_of(row, &standard))
            text_add(text, "%s%s=%lld", comma, row->key, (long long)*integer_of(row, &copy));
        if (row->kind == SECONDS && *seconds_of(row, &copy) != *seconds_of(row, &standard))
            text_add(text, "%s%s=%g", comma, row->key, *seconds_of(row, &copy));
        if (text->n != before) comma = ",";
    }
}
