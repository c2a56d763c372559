/* SPDX-License-Identifier: Apache-2.0
 *
 * The picture of a simulated run: a row a rank, time to the right. On a row: waiting for a peer (yellow), sending
 * (upper half, blue), receiving (lower half, green). A line joins both ends of a message; the chain of messages that
 * the last arrival waited for, one after the other, is red.
 */
#include "runtime/command/comm_simulate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT = 64, TOP = 56, WIDTH = 1200 };

void comm_record(void *user, const struct yj_message *message) {
    struct recording *r = user;
    if (r->n == r->room && !r->failed) {
        int room = r->room ? 2 * r->room : 1024;
        struct yj_message *more = room <= 2 * DRAWN_MESSAGES ? realloc(r->message, (size_t)room * sizeof *more) : NULL;
        if (more)
            r->message = more, r->room = room;
        else
            r->failed = true;
    }
    if (!r->failed) r->message[r->n++] = *message;
}

struct picture {
    FILE *file;
    const struct yj_simulation *s;
    double scale; /* pixels a picosecond */
    int row;      /* pixels */
};

static double x_of(const struct picture *p, int64_t ps) {
    return LEFT + (double)ps * p->scale;
}
static double y_of(const struct picture *p, int rank) {
    return TOP + (rank + 0.5) * p->row;
}

static void bar(const struct picture *p, int rank, int64_t from, int64_t to, double top, double height,
                const char *color) {
    if (to <= from) return;
    fprintf(p->file, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\"/>\n", x_of(p, from),
            TOP + p->row * (rank + top), fmax(0.4, (double)(to - from) * p->scale), p->row * height, color);
}

static void frame(const struct picture *p, const struct yj_simulated *r) {
    int n = p->s->ranks, bottom = TOP + n * p->row, height = bottom + 64;
    fprintf(p->file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
            "font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            LEFT + WIDTH + 24, height);
    fprintf(p->file,
            "<text x=\"%d\" y=\"20\" font-size=\"15\">%s %s, %d ranks, %llu bytes, %d slices: %.3f us</text>\n", LEFT,
            p->s->collective, r->algorithm, n, (unsigned long long)p->s->bytes, r->slices, (double)r->time_ps * 1e-6);
    for (int rank = 0; rank <= n; rank++) {
        int y = TOP + rank * p->row, node = rank % p->s->platform->ranks_per_node == 0;
        fprintf(p->file, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\" stroke=\"%s\"/>\n", LEFT, y, LEFT + WIDTH, y,
                node ? "#888" : "#ddd");
        if (rank < n)
            fprintf(p->file, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">rank %d</text>\n", LEFT - 6,
                    y_of(p, rank) + 4, rank);
    }
    double us = (double)r->time_ps * 1e-6, unit = us > 0 ? pow(10, floor(log10(us)) - 1) : 1;
    while (us / unit > 12)
        unit *= us / unit > 24 ? 5 : 2; /* at most 12 labels */
    for (double t = 0; t <= us * 1.0001; t += unit)
        fprintf(p->file,
                "<line x1=\"%.2f\" y1=\"%d\" x2=\"%.2f\" y2=\"%d\" stroke=\"#ddd\"/><text x=\"%.2f\" y=\"%d\" "
                "text-anchor=\"middle\">%g us</text>\n",
                x_of(p, (int64_t)(t * 1e6)), TOP, x_of(p, (int64_t)(t * 1e6)), bottom, x_of(p, (int64_t)(t * 1e6)),
                bottom + 16, t);
    static const struct {
        const char *color, *text;
    } legend[] = {{"#ffe08a", "waits for a peer"},
                  {"#4a90d9", "sends"},
                  {"#5cb85c", "receives"},
                  {"#d0021b", "what the last arrival waited for"}};
    for (int i = 0; i < 4; i++)
        fprintf(p->file,
                "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"10\" fill=\"%s\"/><text x=\"%d\" y=\"%d\">%s</text>\n",
                LEFT + 140 * i, bottom + 34, legend[i].color, LEFT + 140 * i + 20, bottom + 43, legend[i].text);
}

/* The chain, from the last arrival back: before it set out, the later of its ends was in another message. */
static void mark_chain(const struct recording *r, bool *chain) {
    int at = -1;
    for (int i = 0; i < r->n; i++)
        if (at < 0 || r->message[i].end_ps >= r->message[at].end_ps) at = i;
    while (at >= 0) {
        const struct yj_message *m = &r->message[at];
        int late = m->send_ps >= m->receive_ps ? m->from : m->to, next = -1;
        int64_t came = m->send_ps >= m->receive_ps ? m->send_ps : m->receive_ps;
        chain[at] = true;
        for (int i = 0; i < r->n; i++) {
            const struct yj_message *k = &r->message[i];
            if (k->slice != m->slice || k->round >= m->round || (k->from != late && k->to != late)) continue;
            if (k->end_ps <= came && (next < 0 || k->end_ps > r->message[next].end_ps)) next = i;
        }
        at = next;
    }
}

static void draw_message(const struct picture *p, const struct yj_message *m, bool chain) {
    fprintf(p->file,
            "<line x1=\"%.2f\" y1=\"%.2f\" x2=\"%.2f\" y2=\"%.2f\" stroke=\"%s\" stroke-width=\"%s\" "
            "stroke-opacity=\"%s\"><title>rank %d to rank %d, round %d, slice %d: %llu bytes, %.3f to %.3f us</title>"
            "</line>\n",
            x_of(p, m->start_ps), y_of(p, m->from), x_of(p, m->end_ps), y_of(p, m->to), chain ? "#d0021b" : "#555",
            chain ? "2.2" : "0.7", chain ? "1" : "0.55", m->from, m->to, m->round, m->slice,
            (unsigned long long)m->bytes, (double)m->start_ps * 1e-6, (double)m->end_ps * 1e-6);
    if (chain)
        fprintf(p->file, "<circle cx=\"%.2f\" cy=\"%.2f\" r=\"3\" fill=\"#d0021b\"/>\n", x_of(p, m->end_ps),
                y_of(p, m->to));
}

bool comm_draw(const char *path, const struct yj_simulation *s, const struct yj_simulated *result,
               const struct recording *r) {
    if (r->failed || r->n > DRAWN_MESSAGES) {
        fprintf(stderr, "yunjin comm simulate: --svg: more than %d messages: take fewer ranks or slices\n",
                DRAWN_MESSAGES);
        return false;
    }
    struct picture p = {.file = fopen(path, "w"), .s = s, .row = s->ranks <= 16 ? 34 : s->ranks <= 32 ? 22 : 16};
    bool *chain = calloc((size_t)r->n + 1, sizeof *chain);
    if (p.file && chain) {
        p.scale = result->time_ps > 0 ? WIDTH / (double)result->time_ps : 0;
        frame(&p, result);
        mark_chain(r, chain);
        for (int i = 0; i < r->n; i++) {
            const struct yj_message *m = &r->message[i];
            bar(&p, m->from, m->send_ps, m->start_ps, 0.08, 0.84, "#ffe08a");
            bar(&p, m->to, m->receive_ps, m->start_ps, 0.08, 0.84, "#ffe08a");
        }
        for (int i = 0; i < r->n; i++)
            bar(&p, r->message[i].from, r->message[i].start_ps, r->message[i].end_ps, 0.14, 0.34, "#4a90d9");
        for (int i = 0; i < r->n; i++)
            bar(&p, r->message[i].to, r->message[i].start_ps, r->message[i].end_ps, 0.52, 0.34, "#5cb85c");
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < r->n; i++)
                if (chain[i] == (pass == 1)) draw_message(&p, &r->message[i], chain[i]);
        fprintf(p.file, "</svg>\n");
    }
    bool ok = p.file && chain && !ferror(p.file);
    if (p.file && fclose(p.file)) ok = false;
    if (!ok) fprintf(stderr, "yunjin comm simulate: %s: %s\n", path, strerror(errno));
    free(chain);
    return ok;
}
