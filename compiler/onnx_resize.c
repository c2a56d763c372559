/* SPDX-License-Identifier: Apache-2.0
 *
 * Resize and Upsample, axis by axis: where each element of the result lies in the operand is a vector of f32; its
 * neighbours are gathered and added with their weights. Sizes may be dims, constants, or be bound at run time.
 */
#include "compiler/onnx.h"
#include <math.h>

#define B (&n->b)
#define MAX GRAPH_MAX_RANK

struct resize {
    const char *mode, *place, *nearest; /* nearest linear cubic; coordinate_transformation_mode; nearest_mode */
    dim size[MAX];                      /* of the result */
    struct value *scale[MAX];           /* f32 scalars */
    double fixed[MAX];                  /* the scale, 0 if it is not a constant */
    bool scales;                        /* they were given, not sizes */
    struct value *from[MAX], *to[MAX];  /* the region of tf_crop_and_resize */
};

static struct value *number(struct node *n, double v, const struct value *like) {
    return like ? build_broadcast_to(B, build_scalar_f(B, YJ_F32, v), like->type.rank, like->type.shape) : NULL;
}

static struct value *spread(struct node *n, struct value *scalar, const struct value *like) {
    return scalar && like ? build_broadcast_to(B, scalar, like->type.rank, like->type.shape) : NULL;
}

/* Element I of a vector as an f32 scalar. */
static struct value *element(struct node *n, struct value *v, int i) {
    return build_cast(B, build_reshape(B, node_cut(n, v, 0, node_c(n, i), node_c(n, i + 1)), 0, NULL), YJ_F32);
}

/* floor(size * scale) exactly: a float is a whole number over a power of two. */
static bool scaled(struct node *n, dim size, double scale, dim *out) {
    int exponent;
    if (!(scale > 0) || scale > 1 << 20 || scale < 1.0 / (1 << 20)) return node_refuse(n, "a scale of %g", scale);
    int64_t whole = (int64_t)ldexp(frexp(scale, &exponent), 24);
    exponent -= 24;
    for (; exponent < 0 && whole % 2 == 0; exponent++)
        whole /= 2;
    dim d = dim_mul(n->dims, size, node_c(n, exponent > 0 ? whole << exponent : whole));
    *out = exponent < 0 ? dim_div(n->dims, d, node_c(n, INT64_C(1) << -exponent)) : d;
    return true;
}

/* Sizes that only the data know: as declared, or bound to new dims. WANT: an i64 vector. */
static bool late_sizes(struct node *n, struct value *want, int count, dim *sizes) {
    struct op *op;
    int rank;
    dim shape[MAX];
    if (node_declared(n, 0, &rank, shape) && rank == count) {
        memcpy(sizes, shape, sizeof shape);
        return node_must_be(n, want, count, sizes);
    }
    for (int i = 0; i < count; i++)
        sizes[i] = graph_dim(n->g, arena_text(import_arena(n->import), "z%d_%d", n->number, i), 0, INT64_C(1) << 32);
    if (!want || build(B, OP_bind, 1, &want, attr_dims(n->g, "symbols", count, sizes, NULL), &op) != YJ_OK)
        return node_out(n, 0, NULL);
    return true;
}

static bool by_scales(struct node *n, struct value *x, struct value *scales, const double *fixed, int count,
                      const int64_t *axis, struct resize *r) {
    dim sizes[MAX];
    r->scales = true;
    if (fixed) {
        for (int i = 0; i < count; i++)
            if (!scaled(n, x->type.shape[axis[i]], fixed[i], &sizes[i])) return false;
    } else {
        if (count != x->type.rank) return node_refuse(n, "scales known only at run time must be given for all axes");
        struct value *f = build_2(B, OP_mul, build_cast(B, node_sizes(n, count, x->type.shape), YJ_F32),
                                  build_cast(B, scales, YJ_F32));
        if (!late_sizes(n, build_cast(B, build_1(B, OP_floor, f), YJ_I64), count, sizes)) return false;
    }
    for (int i = 0; i < count; i++) {
        r->size[axis[i]] = sizes[i];
        r->fixed[axis[i]] = fixed ? fixed[i] : 0;
        r->scale[axis[i]] = fixed ? build_scalar_f(B, YJ_F32, fixed[i]) : element(n, scales, i);
    }
    return true;
}

static bool by_sizes(struct node *n, struct value *x, int operand, int count, const int64_t *axis, struct resize *r) {
    int given;
    const dim *known;
    dim sizes[MAX];
    if (node_known(n, operand, &given, &known)) {
        if (given != count) return node_refuse(n, "%d sizes for %d axes", given, count);
        memcpy(sizes, known, sizeof *known * (size_t)count);
    } else if (count != x->type.rank) {
        return node_refuse(n, "sizes known only at run time must be given for all axes");
    } else if (!late_sizes(n, build_cast(B, node_in(n, operand), YJ_I64), count, sizes)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        int64_t a, b;
        int at = (int)axis[i];
        if (sizes[i]->high < 0) return node_refuse(n, "size %d is negative", i);
        r->size[at] = sizes[i];
        if (dim_is_const(sizes[i], &a) && dim_is_const(x->type.shape[at], &b) && b > 0)
            r->fixed[at] = (float)a / (float)b;
        r->scale[at] = build_2(B, OP_div, node_size(n, sizes[i], YJ_F32), node_size(n, x->type.shape[at], YJ_F32));
    }
    return true;
}

/* Where element i of the result lies along AXIS of the operand: f32 [size] */
static struct value *places(struct node *n, const struct value *x, const struct resize *r, int axis) {
    dim in = x->type.shape[axis], out = r->size[axis];
    struct value *i = node_iota(n, YJ_F32, 1, &out, 0), *s = spread(n, r->scale[axis], i);
    struct value *half = number(n, 0.5, i), *middle = build_2(B, OP_div, build_2(B, OP_add, i, half), s);
    struct value *last = spread(n, node_size(n, dim_sub(n->dims, in, node_c(n, 1)), YJ_F32), i);
    /* align_corners: ONNX's reference does not round the size that a scale gives */
    struct value *whole = spread(n, node_size(n, out, YJ_F32), i);
    if (r->scales) whole = build_2(B, OP_mul, spread(n, node_size(n, in, YJ_F32), i), s);
    struct value *even = build_2(B, OP_div, build_2(B, OP_mul, i, last), build_2(B, OP_sub, whole, number(n, 1, i)));
    struct value *single = build_2(B, OP_le, spread(n, node_size(n, out, YJ_F32), i), number(n, 1, i));
    if (!strcmp(r->place, "asymmetric")) return build_2(B, OP_div, i, s);
    if (!strcmp(r->place, "tf_half_pixel_for_nn")) return middle;
    if (!strcmp(r->place, "half_pixel")) return build_2(B, OP_sub, middle, half);
    if (!strcmp(r->place, "pytorch_half_pixel"))
        return build_3(B, OP_select, single, number(n, 0, i), build_2(B, OP_sub, middle, half));
    if (!strcmp(r->place, "align_corners")) return build_3(B, OP_select, single, number(n, 0, i), even);
    if (!strcmp(r->place, "half_pixel_symmetric")) { /* around the centre, as if the size were not rounded */
        struct value *size = spread(n, node_size(n, in, YJ_F32), i);
        struct value *share = build_2(B, OP_div, spread(n, node_size(n, out, YJ_F32), i), build_2(B, OP_mul, s, size));
        struct value *shift =
            build_2(B, OP_mul, build_2(B, OP_mul, size, half), build_2(B, OP_sub, number(n, 1, i), share));
        return build_2(B, OP_add, shift, build_2(B, OP_sub, middle, half));
    }
    if (!strcmp(r->place, "tf_crop_and_resize") && r->from[axis]) {
        struct value *a = spread(n, r->from[axis], i), *b = spread(n, r->to[axis], i);
        struct value *inside =
            build_2(B, OP_add, build_2(B, OP_mul, a, last), build_2(B, OP_mul, build_2(B, OP_sub, b, a), even));
        struct value *centre = build_2(B, OP_mul, build_2(B, OP_mul, build_2(B, OP_add, a, b), half), last);
        return build_3(B, OP_select, single, centre, inside);
    }
    node_refuse(n, "coordinate_transformation_mode %s is not supported", r->place);
    return NULL;
}

static struct value *nearest_of(struct node *n, struct value *p, const char *how) {
    struct value *half = number(n, 0.5, p);
    if (!strcmp(how, "floor")) return build_1(B, OP_floor, p);
    if (!strcmp(how, "ceil")) return build_1(B, OP_ceil, p);
    if (!strcmp(how, "round_prefer_ceil")) return build_1(B, OP_floor, build_2(B, OP_add, p, half));
    return build_1(B, OP_ceil, build_2(B, OP_sub, p, half));
}

/* Elements of x along AXIS at the places AT (f32, whole numbers), at the edge where they are outside. */
static struct value *take(struct node *n, struct value *x, int axis, struct value *at) {
    struct value *last = spread(n, node_size(n, dim_sub(n->dims, x->type.shape[axis], node_c(n, 1)), YJ_F32), at);
    at = build_2(B, OP_max, build_2(B, OP_min, at, last), number(n, 0, at));
    return build_gather(B, x, build_cast(B, at, YJ_I64), axis);
}

static struct value *weighted(struct node *n, struct value *y, struct value *weight, int axis) {
    int64_t axes[1] = {axis};
    if (!y || !weight) return NULL;
    return build_2(B, OP_mul, y, build_broadcast(B, weight, y->type.rank, y->type.shape, axes));
}

/* Keys' cubic: of a neighbour at distance d, ((a + 2) d - (a + 3)) d^2 + 1 up to 1, ((a d - 5a) d + 8a) d - 4a up to 2
 */
static struct value *cubic_weight(struct node *n, struct value *d, double a, bool near_by) {
    struct value *c[4];
    double k[2][4] = {{-4 * a, 8 * a, -5 * a, a}, {1, 0, -(a + 3), a + 2}};
    for (int i = 0; i < 4; i++)
        c[i] = number(n, k[near_by][i], d);
    struct value *y = c[3];
    for (int i = 2; i >= 0; i--)
        y = build_2(B, OP_add, build_2(B, OP_mul, y, d), c[i]);
    return y;
}

static struct value *interpolate(struct node *n, struct value *x, int axis, struct value *p, bool cubic) {
    struct value *below = build_1(B, OP_floor, p), *t = build_2(B, OP_sub, p, below), *one = number(n, 1, p), *at[4],
                 *w[4];
    int taps = cubic ? 4 : 2;
    if (!t) return NULL;
    w[0] = build_2(B, OP_sub, one, t);
    w[1] = t;
    for (int k = 0; k < taps; k++)
        at[k] = build_2(B, OP_add, below, number(n, cubic ? k - 1 : k, p));
    if (cubic) {
        double a = node_float(n, "cubic_coeff_a", -0.75);
        struct value *sum = NULL;
        for (int k = 0; k < 4; k++) {
            struct value *d = build_1(B, OP_abs, build_2(B, OP_sub, t, number(n, k - 1, p)));
            w[k] = cubic_weight(n, d, a, k == 1 || k == 2);
            if (!node_int(n, "exclude_outside", 0)) continue;
            struct value *size = spread(n, node_size(n, x->type.shape[axis], YJ_F32), p), *zero = number(n, 0, p);
            struct value *inside = build_2(B, OP_and, build_2(B, OP_ge, at[k], zero), build_2(B, OP_lt, at[k], size));
            w[k] = build_3(B, OP_select, inside, w[k], zero);
            sum = sum ? build_2(B, OP_add, sum, w[k]) : w[k];
        }
        for (int k = 0; k < 4 && sum; k++)
            w[k] = build_2(B, OP_div, w[k], sum);
    }
    struct value *y = NULL;
    for (int k = 0; k < taps; k++) {
        struct value *part = weighted(n, take(n, x, axis, at[k]), w[k], axis);
        y = k ? build_2(B, OP_add, y, part) : part;
    }
    return y;
}

/* Every element S times: no index is needed. */
static struct value *repeat(struct node *n, struct value *x, int axis, int64_t s) {
    dim wide[MAX + 1], joined[MAX];
    int64_t axes[MAX];
    int rank = x->type.rank;
    for (int i = 0; i <= rank; i++)
        wide[i] = i <= axis ? x->type.shape[i] : i == axis + 1 ? node_c(n, s) : x->type.shape[i - 1];
    for (int i = 0; i < rank; i++)
        axes[i] = i <= axis ? i : i + 1;
    memcpy(joined, x->type.shape, sizeof joined);
    joined[axis] = dim_mul(n->dims, joined[axis], node_c(n, s));
    return build_reshape(B, build_broadcast(B, x, rank + 1, wide, axes), rank, joined);
}

static bool is_repeat(const struct resize *r, const struct value *x, int axis) {
    bool half = !strcmp(r->place, "half_pixel") && !strncmp(r->nearest, "round", 5);
    bool plain = !strcmp(r->place, "asymmetric") && !strcmp(r->nearest, "floor");
    double s = r->fixed[axis];
    return !strcmp(r->mode, "nearest") && (half || plain) && s >= 1 && s <= 1 << 20 && s == floor(s) &&
           x->type.rank < MAX;
}

static bool apply(struct node *n, struct value *x, const struct resize *r) {
    bool crop = !strcmp(r->place, "tf_crop_and_resize"), cubic = !strcmp(r->mode, "cubic"),
         nearest = !strcmp(r->mode, "nearest");
    enum yj_dtype dtype = x->type.dtype;
    struct value *outside[MAX] = {0};
    if (!nearest && strcmp(r->mode, "linear") && !cubic) return node_refuse(n, "mode %s is not supported", r->mode);
    if (!nearest) x = build_cast(B, x, YJ_F32);
    for (int axis = 0; x && axis < x->type.rank; axis++) {
        if (!crop && (!r->scale[axis] ||
                      (r->fixed[axis] == 1 && dim_equal(n->dims, r->size[axis], x->type.shape[axis]) == DIM_YES)))
            continue;
        if (is_repeat(r, x, axis)) {
            x = repeat(n, x, axis, (int64_t)r->fixed[axis]);
            continue;
        }
        dim in = x->type.shape[axis];
        struct value *p = places(n, x, r, axis);
        if (!p) return n->refused ? false : node_out(n, 0, NULL);
        if (crop) {
            struct value *last = spread(n, node_size(n, dim_sub(n->dims, in, node_c(n, 1)), YJ_F32), p);
            outside[axis] = build_2(B, OP_or, build_2(B, OP_lt, p, number(n, 0, p)), build_2(B, OP_gt, p, last));
        }
        x = nearest ? take(n, x, axis, nearest_of(n, p, r->nearest)) : interpolate(n, x, axis, p, cubic);
    }
    for (int axis = 0; crop && x && axis < x->type.rank; axis++) {
        int64_t axes[1] = {axis};
        if (!outside[axis]) continue;
        struct value *away = build_broadcast(B, outside[axis], x->type.rank, x->type.shape, axes);
        x = build_3(B, OP_select, away, node_like(n, node_float(n, "extrapolation_value", 0), x), x);
    }
    return node_out(n, 0, nearest ? x : build_cast(B, x, dtype));
}

/* The constant floats of operand I, or of an attribute. */
static const double *constants(struct node *n, int operand, const char *attribute, int *count) {
    const Onnx__AttributeProto *a = attribute ? node_attribute(n, attribute) : NULL;
    const struct data *data;
    const struct type *type;
    int64_t length = 0;
    double *out = NEW_ARRAY(import_arena(n->import), double, MAX);
    *count = 0;
    if (a) {
        *count = (int)min64((int64_t)a->n_floats, MAX);
        for (int i = 0; i < *count; i++)
            out[i] = (double)a->floats[i];
        return out;
    }
    if (!node_constant(n, operand, &data, &type) || type->dtype != YJ_F32 || type->rank != 1 ||
        !dim_is_const(type->shape[0], &length) || length > MAX)
        return NULL;
    for (int i = 0; i < length; i++) {
        float f;
        memcpy(&f, (const char *)data->bytes + 4 * i, 4);
        out[i] = (double)f;
    }
    *count = (int)length;
    return out;
}

bool onnx_upsample(struct node *n) {
    struct value *x = node_in(n, 0);
    struct resize r = {.mode = node_text(n, "mode", "nearest"), .place = "asymmetric", .nearest = "floor"};
    int64_t axis[MAX];
    int count = 0;
    if (!x) return false;
    for (int i = 0; i < x->type.rank; i++)
        axis[i] = i, r.size[i] = x->type.shape[i];
    const double *fixed =
        constants(n, 1, n->version < 9 && !strcmp(n->proto->op_type, "Upsample") ? "scales" : NULL, &count);
    if (fixed && count != x->type.rank) return node_refuse(n, "%d scales for rank %d", count, x->type.rank);
    if (!fixed && !node_in(n, 1)) return false;
    return by_scales(n, x, fixed ? NULL : node_in(n, 1), fixed, x->type.rank, axis, &r) && apply(n, x, &r);
}

bool onnx_resize(struct node *n) {
    struct value *x = node_in(n, 0);
    struct resize r = {.mode = node_text(n, "mode", "nearest"),
                       .place = node_text(n, "coordinate_transformation_mode", "half_pixel"),
                       .nearest = node_text(n, "nearest_mode", "round_prefer_floor")};
    int64_t axis[MAX];
    int count, fixed_count = 0;
    if (!x) return false;
    const int64_t *list = node_list(n, "axes", &count);
    if (count > x->type.rank) return node_refuse(n, "%d axes for rank %d", count, x->type.rank);
    for (int i = 0, a; i < count; i++) {
        if (!node_axis(n, list[i], x->type.rank, &a)) return false;
        axis[i] = a;
    }
    if (!list)
        for (count = 0; count < x->type.rank; count++)
            axis[count] = count;
    for (int i = 0; i < x->type.rank; i++)
        r.size[i] = x->type.shape[i];
    node_passes_over(n, 1); /* roi is for tf_crop_and_resize; scales may be empty beside sizes */
    node_passes_over(n, 2);
    if (node_int(n, "antialias", 0)) return node_refuse(n, "antialias is not supported");
    if (strcmp(node_text(n, "keep_aspect_ratio_policy", "stretch"), "stretch"))
        return node_refuse(n, "keep_aspect_ratio_policy is not supported");
    if (!strcmp(r.place, "tf_crop_and_resize"))
        for (int i = 0; i < count; i++) {
            struct value *roi = node_in(n, 1);
            if (!roi || roi->type.rank != 1 || !dim_is(roi->type.shape[0], 2 * count))
                return node_refuse(n, "roi must hold two numbers for each axis");
            r.from[axis[i]] = element(n, roi, i);
            r.to[axis[i]] = element(n, roi, count + i);
        }
    struct value *sizes = node_has(n, 3) ? node_in(n, 3) : NULL;
    if (sizes && sizes->type.rank != 1) return node_refuse(n, "sizes must be a vector");
    bool sized = sizes && !dim_is(sizes->type.shape[0], 0);
    if (sized) return by_sizes(n, x, 3, count, axis, &r) && apply(n, x, &r);
    const double *fixed = constants(n, 2, NULL, &fixed_count);
    struct value *scales = fixed ? NULL : node_in(n, 2);
    if (fixed ? fixed_count != count : !scales || scales->type.rank != 1)
        return node_refuse(n, "%d scales for %d axes", fixed_count, count);
    return by_scales(n, x, scales, fixed, count, axis, &r) && apply(n, x, &r);
}
