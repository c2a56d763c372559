/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash-consed reduction expressions. Leaves are numbered without being stored: 1 + rank * blocks + block. What the
 * verifier asks of a join is summed up when it is made, so that questions cost nothing.
 */
#include "comm/expression.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
    uint32_t first, n, next; /* operands; the next node of the hash bucket */
    uint32_t low, high;      /* ranks covered, if ordered */
    uint32_t leaves, block;
    bool ordered;
    uint64_t weight; /* sum of the weights of all leaves */
};
struct expressions {
    int ranks, blocks;
    uint32_t leaves, nodes, node_room, operands, operand_room, buckets;
    struct node *node; /* id - 1 - leaves */
    uint32_t *operand, *bucket;
};

static uint64_t mix(uint64_t x) { /* the finaliser of splitmix64 */
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

struct expressions *expressions_open(int ranks, int blocks) {
    struct expressions *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    *e = (struct expressions){
        .ranks = ranks, .blocks = blocks, .leaves = (uint32_t)ranks * (uint32_t)blocks, .buckets = 1024};
    e->bucket = calloc(e->buckets, sizeof *e->bucket);
    if (e->bucket) return e;
    free(e);
    return NULL;
}

void expressions_close(struct expressions *e) {
    if (!e) return;
    free(e->node);
    free(e->operand);
    free(e->bucket);
    free(e);
}

uint32_t expression_leaf(const struct expressions *e, int rank, int block) {
    return 1 + (uint32_t)rank * (uint32_t)e->blocks + (uint32_t)block;
}

/* A leaf as a node, or the node. */
static struct node node_of(const struct expressions *e, uint32_t id) {
    if (id > e->leaves) return e->node[id - 1 - e->leaves];
    uint32_t rank = (id - 1) / (uint32_t)e->blocks;
    uint32_t block = (id - 1) % (uint32_t)e->blocks;
    return (struct node){.low = rank, .high = rank, .leaves = 1, .block = block, .ordered = true, .weight = mix(id)};
}

static bool room_for(struct expressions *e, uint32_t n) {
    if (e->nodes == e->node_room) {
        uint32_t room = e->node_room ? 2 * e->node_room : 256;
        struct node *node = realloc(e->node, (size_t)room * sizeof *node);
        if (!node) return false;
        e->node = node, e->node_room = room;
    }
    if (e->operands + n > e->operand_room) {
        uint32_t room = 2 * e->operand_room + n + 256;
        uint32_t *operand = realloc(e->operand, (size_t)room * sizeof *operand);
        if (!operand) return false;
        e->operand = operand, e->operand_room = room;
    }
    return e->nodes < UINT32_MAX / 4 && e->operands < UINT32_MAX / 4;
}

static uint64_t hash_of(const uint32_t *operand, uint32_t n) {
    uint64_t h = n;
    for (uint32_t i = 0; i < n; i++)
        h = mix(h ^ operand[i]);
    return h;
}

static void rehash(struct expressions *e) {
    uint32_t *bucket = calloc((size_t)e->buckets * 4, sizeof *bucket);
    if (!bucket) return; /* slower, not wrong */
    free(e->bucket);
    e->bucket = bucket, e->buckets *= 4;
    for (uint32_t i = 0; i < e->nodes; i++) {
        uint32_t *head = &bucket[hash_of(e->operand + e->node[i].first, e->node[i].n) % e->buckets];
        e->node[i].next = *head, *head = i + 1;
    }
}

uint32_t expression_join(struct expressions *e, const uint32_t *operand, int n) {
    uint64_t hash = hash_of(operand, (uint32_t)n);
    for (uint32_t i = e->bucket[hash % e->buckets]; i; i = e->node[i - 1].next)
        if (e->node[i - 1].n == (uint32_t)n &&
            !memcmp(e->operand + e->node[i - 1].first, operand, (size_t)n * sizeof *operand))
            return e->leaves + i;
    if (!room_for(e, (uint32_t)n)) return 0;
    struct node node = node_of(e, operand[0]);
    for (int i = 1; i < n; i++) {
        struct node more = node_of(e, operand[i]);
        node.ordered = node.ordered && more.ordered && more.low == node.high + 1;
        node.high = more.high, node.weight += more.weight;
        node.leaves = node.leaves > UINT32_MAX - more.leaves ? UINT32_MAX : node.leaves + more.leaves;
    }
    node.first = e->operands, node.n = (uint32_t)n;
    memcpy(e->operand + e->operands, operand, (size_t)n * sizeof *operand);
    e->operands += (uint32_t)n;
    uint32_t *head = &e->bucket[hash % e->buckets];
    node.next = *head, e->node[e->nodes] = node, *head = ++e->nodes;
    uint32_t id = e->leaves + e->nodes;
    if (e->nodes > 2 * e->buckets) rehash(e);
    return id;
}

int expression_block(const struct expressions *e, uint32_t id) {
    return (int)node_of(e, id).block;
}

bool expression_is_sum(const struct expressions *e, uint32_t id, int block) {
    uint64_t weight = 0;
    struct node node = node_of(e, id);
    for (int r = 0; r < e->ranks; r++)
        weight += mix(expression_leaf(e, r, block));
    return node.weight == weight && node.leaves == (uint32_t)e->ranks;
}

bool expression_ordered(const struct expressions *e, uint32_t id) {
    struct node node = node_of(e, id);
    return node.ordered && node.low == 0 && node.high == (uint32_t)e->ranks - 1;
}

bool expression_canonical(const struct expressions *e, uint32_t id) {
    return expression_ordered(e, id) && (id <= e->leaves || e->node[id - 1 - e->leaves].n == (uint32_t)e->ranks);
}

void expression_count(const struct expressions *e, uint32_t id, uint64_t *of_rank) {
    /* Times each node occurs: nodes only refer to earlier ones, so one pass downwards is enough. */
    if (id <= e->leaves) {
        of_rank[(id - 1) / (uint32_t)e->blocks]++;
        return;
    }
    uint64_t *times = calloc(e->nodes, sizeof *times);
    if (!times) return;
    times[id - 1 - e->leaves] = 1;
    for (uint32_t i = id - e->leaves; i-- > 0;)
        for (uint32_t k = 0; times[i] && k < e->node[i].n; k++) {
            uint32_t operand = e->operand[e->node[i].first + k];
            if (operand > e->leaves)
                times[operand - 1 - e->leaves] += times[i];
            else
                of_rank[(operand - 1) / (uint32_t)e->blocks] += times[i];
        }
    free(times);
}

struct line {
    char *text;
    size_t n, room;
};

static void add(struct line *line, const char *text) {
    for (; *text && line->n + 1 < line->room; text++)
        line->text[line->n++] = *text;
}

static void print(const struct expressions *e, uint32_t id, struct line *line) {
    char number[16];
    if (line->n + 1 >= line->room) return;
    if (id <= e->leaves) {
        snprintf(number, sizeof number, "%u", (id - 1) / (uint32_t)e->blocks);
        add(line, number);
        return;
    }
    const struct node *node = &e->node[id - 1 - e->leaves];
    for (uint32_t k = 0; k < node->n && line->n + 1 < line->room; k++) {
        add(line, k ? "+" : "(");
        print(e, e->operand[node->first + k], line);
    }
    add(line, ")");
}

void expression_text(const struct expressions *e, uint32_t id, char *text, size_t bytes) {
    struct line line = {text, 0, bytes};
    print(e, id, &line);
    text[line.n] = 0;
    if (line.n + 1 == bytes && bytes > 4) memcpy(text + bytes - 4, "...", 4);
}
