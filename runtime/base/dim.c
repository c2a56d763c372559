/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of dim expressions: every node is made once (hash-consing) and carries its facts, computed from its
 * operands when it is made: a range, where INT64_MIN and INT64_MAX are the infinities, and a divisor.
 */
#include "runtime/base/dim_impl.h"

/* --- facts --- */

static bool infinite(int64_t a) {
    return a == INT64_MIN || a == INT64_MAX;
}

static int64_t saturated_add(int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return a < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static void add_facts(struct dim *d) {
    dim a = d->a, b = d->b;
    d->low = a->low == INT64_MIN || b->low == INT64_MIN ? INT64_MIN : saturated_add(a->low, b->low);
    d->high = a->high == INT64_MAX || b->high == INT64_MAX ? INT64_MAX : saturated_add(a->high, b->high);
    d->divisor = gcd64(a->divisor, b->divisor);
}

/* Ends of ranges as 128-bit numbers, the infinities as +-BIG: a range may also lie at one end of the 64 bits. */
typedef __int128 wide;
static wide low_end(dim d, wide big) {
    return d->low == INT64_MIN ? -big : d->low;
}

static wide high_end(dim d, wide big) {
    return d->high == INT64_MAX ? big : d->high;
}

static void set_range(struct dim *d, const wide at[4]) {
    wide low = at[0], high = at[0];
    for (int i = 1; i < 4; i++) {
        if (at[i] < low) low = at[i];
        if (at[i] > high) high = at[i];
    }
    d->low = low < INT64_MIN ? INT64_MIN : low > INT64_MAX ? INT64_MAX : (int64_t)low;
    d->high = high < INT64_MIN ? INT64_MIN : high > INT64_MAX ? INT64_MAX : (int64_t)high;
}

static void mul_facts(struct dim *d) {
    const wide big = (wide)1 << 63; /* times a number >= 1 it is infinite again, and big*big fits */
    wide al = low_end(d->a, big), ah = high_end(d->a, big), bl = low_end(d->b, big), bh = high_end(d->b, big);
    set_range(d, (wide[]){al * bl, al * bh, ah * bl, ah * bh});
    if (__builtin_mul_overflow(d->a->divisor, d->b->divisor, &d->divisor))
        d->divisor = max64(d->a->divisor, d->b->divisor);
}

static wide wide_floor_div(wide a, wide b) { /* b > 0 */
    return a / b - (a % b < 0);
}

static void div_facts(struct dim *d) {
    const wide big = (wide)1 << 126; /* divided by any number it is infinite still */
    dim x = d->a, n = d->b;
    d->low = INT64_MIN;
    d->high = INT64_MAX;
    d->divisor = 1;
    if (n->low < 0) return;
    wide xl = low_end(x, big), xh = high_end(x, big), nl = max64(n->low, 1), nh = high_end(n, big);
    if (nh < 1) nh = 1;
    set_range(d,
              (wide[]){wide_floor_div(xl, nl), wide_floor_div(xl, nh), wide_floor_div(xh, nl), wide_floor_div(xh, nh)});
    if (n->op == DIM_CONST && n->value > 0 && x->divisor % n->value == 0) d->divisor = x->divisor / n->value;
}

static void mod_facts(struct dim *d) {
    dim x = d->a, n = d->b;
    d->low = INT64_MIN;
    d->high = INT64_MAX;
    d->divisor = gcd64(x->divisor, n->divisor);
    if (n->low >= 0) {
        d->low = 0;
        if (n->high != INT64_MAX) d->high = max64(n->high, 1) - 1;
        if (x->low >= 0) d->high = min64(d->high, x->high);
    } else if (n->high <= 0) {
        d->high = 0;
        if (n->low != INT64_MIN) d->low = n->low + 1;
    }
}

static void facts(struct dim *d) {
    switch (d->op) {
    case DIM_CONST:
        d->low = d->high = d->value;
        d->divisor = gcd64(d->value, 0);
        break;
    case DIM_SYMBOL:
        break;
    case DIM_ADD:
        add_facts(d);
        break;
    case DIM_MUL:
        mul_facts(d);
        break;
    case DIM_DIV:
        div_facts(d);
        break;
    case DIM_MOD:
        mod_facts(d);
        break;
    case DIM_MIN:
        d->low = min64(d->a->low, d->b->low);
        d->high = min64(d->a->high, d->b->high);
        d->divisor = gcd64(d->a->divisor, d->b->divisor);
        break;
    case DIM_MAX:
        d->low = max64(d->a->low, d->b->low);
        d->high = max64(d->a->high, d->b->high);
        d->divisor = gcd64(d->a->divisor, d->b->divisor);
        break;
    }
}

/* --- the table --- */

static uint64_t hash_of(const struct dim *d) {
    if (d->op == DIM_SYMBOL) return hash_bytes(d->name, strlen(d->name), DIM_SYMBOL);
    int64_t key[4] = {d->op, d->value, d->a ? d->a->id : -1, d->b ? d->b->id : -1};
    return hash_bytes(key, sizeof key, 0);
}

static bool same(const struct node *n, const struct dim *d, bool opaque) {
    if (n->dim.op != d->op) return false;
    if (d->op == DIM_SYMBOL) return strcmp(n->dim.name, d->name) == 0;
    return n->dim.value == d->value && n->dim.a == d->a && n->dim.b == d->b && n->opaque == opaque;
}

static void grow(struct dim_table *t) {
    int n = 2 * t->n_buckets;
    struct node **buckets = NEW_ARRAY(t->arena, struct node *, n);
    for (int i = 0; i < t->n_buckets; i++) {
        for (struct node *p = t->buckets[i], *next; p; p = next) {
            next = p->next;
            struct node **bucket = &buckets[hash_of(&p->dim) & (uint64_t)(n - 1)];
            p->next = *bucket;
            *bucket = p;
        }
    }
    t->buckets = buckets;
    t->n_buckets = n;
}

static struct node *find(struct dim_table *t, const struct dim *d, bool opaque, uint64_t hash) {
    for (struct node *p = t->buckets[hash & (uint64_t)(t->n_buckets - 1)]; p; p = p->next)
        if (same(p, d, opaque)) return p;
    return NULL;
}

static void check_size(const struct node *n) {
    if (n->depth <= DIM_MOST_DEPTH && n->weight <= DIM_MOST_NODES) return;
    report(YJ_ERR_UNSUPPORTED, "a dim expression is too large (%d nodes, nested %d deep; at most %d and %d)", n->weight,
           n->depth, DIM_MOST_NODES, DIM_MOST_DEPTH);
    arena_leave(YJ_ERR_UNSUPPORTED);
}

/* The node equal to D, made if it is new. */
static struct node *intern(struct dim_table *t, const struct dim *d, bool opaque) {
    uint64_t hash = hash_of(d);
    struct node *n = find(t, d, opaque, hash);
    if (n) return n;
    if (t->n_nodes >= t->n_buckets) grow(t);
    n = NEW(t->arena, struct node);
    n->dim = *d;
    n->table = t;
    n->opaque = opaque;
    n->weight = n->depth = 1;
    if (d->a) {
        const struct node *a = node_of(d->a), *b = node_of(d->b);
        n->depth = 1 + (a->depth > b->depth ? a->depth : b->depth);
        n->weight = 1 + a->weight + b->weight; /* both are at most DIM_MOST_NODES, or nobody guards */
        if (n->weight < 0) n->weight = DIM_MOST_NODES + 1;
        n->axis = a->axis || b->axis;
    }
    check_size(n);
    n->dim.id = t->n_nodes++;
    facts(&n->dim);
    struct node **bucket = &t->buckets[hash & (uint64_t)(t->n_buckets - 1)];
    n->next = *bucket;
    *bucket = n;
    return n;
}

dim dim_node(struct dim_table *t, enum dim_op op, dim a, dim b) {
    return &intern(t, &(struct dim){.op = op, .a = a, .b = b}, false)->dim;
}

dim dim_node_opaque(struct dim_table *t, dim a, dim b) {
    return &intern(t, &(struct dim){.op = DIM_MUL, .a = a, .b = b}, true)->dim;
}

struct dim_table *dim_table_open(struct arena *arena) {
    struct dim_table *t = NEW(arena, struct dim_table);
    if (!t) return NULL;
    t->arena = arena;
    t->n_buckets = 64;
    t->buckets = NEW_ARRAY(arena, struct node *, t->n_buckets);
    if (!t->buckets) return NULL;
    t->zero = dim_const(t, 0);
    t->one = dim_const(t, 1);
    t->minus_one = dim_const(t, -1);
    return t;
}

dim dim_const(struct dim_table *t, int64_t value) {
    return &intern(t, &(struct dim){.op = DIM_CONST, .value = value}, false)->dim;
}

/* --- symbols --- */

dim dim_find(struct dim_table *t, const char *name) {
    struct dim d = {.op = DIM_SYMBOL, .name = name};
    struct node *n = find(t, &d, false, hash_of(&d));
    return n ? &n->dim : NULL;
}

static struct node *symbol_new(struct dim_table *t, const char *name, int64_t low, int64_t high, int64_t divisor) {
    struct dim d = {.op = DIM_SYMBOL, .name = arena_text(t->arena, "%s", name)};
    d.low = low;
    d.high = high;
    d.divisor = divisor > 1 ? divisor : 1;
    return intern(t, &d, false);
}

dim dim_symbol(struct dim_table *t, const char *name, int64_t low, int64_t high) {
    dim d = dim_find(t, name);
    return d ? d : &symbol_new(t, name, low, high, 1)->dim;
}

dim dim_symbol_multiple(struct dim_table *t, const char *name, int64_t low, int64_t high, int64_t divisor) {
    dim d = dim_find(t, name);
    return d ? d : &symbol_new(t, name, low, high, divisor)->dim;
}

dim dim_symbol_below(struct dim_table *t, const char *name, dim low, dim end) {
    dim d = dim_find(t, name);
    if (d) return d;
    int64_t high = infinite(end->high) ? INT64_MAX : max64(end->high - 1, low->low);
    struct node *n = symbol_new(t, name, low->low, high, 1);
    n->begin = low;
    n->end = end;
    n->axis = true;
    return &n->dim;
}

bool dim_is_const(dim d, int64_t *value) {
    if (d->op != DIM_CONST) return false;
    *value = d->value;
    return true;
}

bool dim_is(dim d, int64_t value) {
    return d->low == value && d->high == value && !infinite(value);
}
