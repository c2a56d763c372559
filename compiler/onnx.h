/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX import: a model file becomes a graph of core ops.
 *   onnx_file.c     opens the file                                        onnx_tensor.c   TensorProto to data
 *   onnx.c          walks the nodes, gathers what is unsupported          onnx_node.c     a node as its builder sees it
 *   onnx_known.c    integer tensors whose elements are dims: Shape -> Gather -> Concat -> Reshape chains fold to them
 *   onnx_flow.c     subgraphs and model-local functions
 *   onnx_ops.def    one row an operator and since-version: the function that builds it, in onnx_<family>.c
 *
 * A builder reads operands with node_in (data) or node_known (dims), attributes with node_int and its like, builds core
 * ops and gives results with node_out. What it cannot do it says with node_refuse: all refusals of a model are listed
 * at once.
 */
#ifndef COMPILER_ONNX_H
#define COMPILER_ONNX_H

#include "ir/graph.h"
#include "onnx.pb-c.h"

struct onnx_bound {
    const char *name;
    int64_t low, high;
}; /* --dim NAME=LO..HI */
struct onnx_state {
    const char *in, *out;
}; /* --state IN=OUT; a * in both stands for the same text */
struct onnx_options {
    int n_bounds;
    const struct onnx_bound *bounds;
    int n_states;
    const struct onnx_state *states;
};

/* The open file: the graph's constants point into it, so it is closed after the last use of the graph. */
struct onnx_file;
enum yj_status onnx_open(const char *path, struct onnx_file **file);
void onnx_close(struct onnx_file *file);
/* What the file declares of input or output I, initializers not counted: the ONNX element type (0: none), and the
 * shape, -1 where a dimension is symbolic. False: it declares no tensor, or none of a known rank. */
struct onnx_declared {
    int type, rank;
    int64_t shape[GRAPH_MAX_RANK];
};
bool onnx_declares(const struct onnx_file *file, bool output, int i, struct onnx_declared *d);
const char *onnx_last_op(const struct onnx_file *file); /* operator of the last node, "?" if there is none */
/* All unsupported nodes are listed in the error text: number, name, op, domain, opset, operand types, the missing
 * property. */
enum yj_status onnx_import(struct onnx_file *file, struct arena *arena, const struct onnx_options *options,
                           struct graph **g);

/* --- for the builders --- */

/* What an ONNX name stands for. An integer tensor of rank 0 or 1 may be known as dims; its data are then made on
 * demand. */
struct item {
    struct value *value;
    const dim *known;
    int n_known, known_rank;
    enum yj_dtype known_dtype;
    bool refused;  /* made by a node that was refused: users are skipped in silence */
    bool sequence; /* a list of values: SplitToSequence and its like */
};

struct import;
struct node {
    struct import *import;
    const Onnx__NodeProto *proto;
    int number, version; /* ONNX node number; opset of its domain */
    int n_in, n_out;
    struct item **in; /* NULL: absent */
    struct builder b;
    struct graph *g;
    struct dim_table *dims;
    bool refused;
    uint64_t *looked; /* operands and, at [1], attributes that the builder asked for: others are not understood */
};
typedef bool node_fn(struct node *n); /* false: refused (node_refuse) or a builder's error */

bool node_has(const struct node *n, int i);
void node_passes_over(struct node *n, int i); /* operand I does not matter here; one never asked for is refused */
struct value *node_in(struct node *n, int i); /* operand as data; NULL and refused if absent */
bool node_known(struct node *n, int i, int *count, const dim **dims); /* false: not known at import */
/* Operand I as dims whatever it is: known, or bound at run time to fresh symbols low..high (its length must be known).
 */
bool node_dims(struct node *n, int i, int64_t low, int64_t high, int *count, const dim **dims);
bool node_ints(struct node *n, int i, int *count, const int64_t **ints); /* known and constant, else refused */
bool node_constant(struct node *n, int i, const struct data **data,
                   const struct type **type);           /* not refused if it is not */
bool node_scalar(struct node *n, int i, double *value); /* a constant of one element */
int64_t node_int(const struct node *n, const char *attribute, int64_t otherwise);
double node_float(const struct node *n, const char *attribute, double otherwise);
const char *node_text(struct node *n, const char *attribute, const char *otherwise);
const int64_t *node_list(const struct node *n, const char *attribute, int *count); /* NULL, 0 if absent */
const Onnx__AttributeProto *node_attribute(const struct node *n, const char *attribute);
bool node_wants(const struct node *n, int i);          /* result I has a name: somebody may use it */
bool node_out(struct node *n, int i, struct value *v); /* false if v is NULL (an error was reported: it refuses) */
bool node_out_known(struct node *n, int i, int rank, int count, const dim *dims, enum yj_dtype dtype);
bool node_refuse(struct node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool node_axis(struct node *n, int64_t axis, int rank, int *out); /* negative from the end; refused if out of range */
/* An axes list from attribute AXES or operand I (since opset 13 or 18); count 0 if absent. Sorted, within 0..rank-1. */
bool node_axes(struct node *n, int operand, int rank, int *count, int64_t *axes);
/* Integer tensors whose elements are dims: returns true if it made the node's results. */
bool onnx_known(struct node *n);
/* Data of a tensor: a constant in the graph's arena or the mapped file. */
enum yj_status onnx_tensor(struct import *im, const Onnx__TensorProto *t, struct type *type, struct data *data);
struct arena *import_arena(struct import *im);
struct dim_table *import_dims(struct import *im);
const char *import_folder(struct import *im); /* of the model file: external data lie beside it */

/* --- shapes, shared by builder families (onnx_build.c) --- */
dim node_c(struct node *n, int64_t value);
/* Numpy broadcasting of two shapes; refused if two dims may differ. */
bool node_broadcast_shape(struct node *n, const struct type *a, const struct type *b, int *rank, dim *shape);
bool node_broadcast_2(struct node *n, struct value **a, struct value **b);
struct value *node_like(struct node *n, double value,
                        struct value *x);                       /* a scalar constant spread to x's shape and type */
struct value *node_wide(struct node *n, struct value *x);       /* f16 and bf16 as f32, to be rounded once at the end */
struct value *node_log_plus_1(struct node *n, struct value *e); /* log(1 + e), good to the last bits near 0 too */
bool node_out_as(struct node *n, int i, struct value *v, enum yj_dtype dtype);
struct value *node_expand(struct node *n, struct value *v, const struct type *like,
                          int axis0); /* v's axes are like's from axis0 */
struct value *node_reduce_keep(struct node *n, struct value *x, enum scalar_op kind, int count,
                               const int64_t *axes); /* back to x's shape */
struct value *node_squeeze(struct node *n, struct value *x, int count, const int64_t *axes);
struct value *node_unsqueeze(struct node *n, struct value *x, int count, const int64_t *axes);
struct value *node_softmax(struct node *n, struct value *x, int axis);
struct value *node_log_softmax(struct node *n, struct value *x, int axis);
struct value *node_matmul(struct node *n, struct value *a, struct value *b);   /* numpy's */
struct value *node_convolve(struct node *n, struct value *x, struct value *w); /* with the node's strides, pads, .. */
struct value *node_channel_bias(struct node *n, struct value *y, struct value *bias);          /* along axis 1 */
struct value *node_along(struct node *n, struct value *v, const struct value *like, int axis); /* a vector along AXIS */
struct value *node_iota(struct node *n, enum yj_dtype dtype, int rank, const dim *shape, int axis);
struct value *node_size(struct node *n, dim d, enum yj_dtype dtype);  /* a dim as a scalar */
struct value *node_sizes(struct node *n, int count, const dim *dims); /* an i64 vector */
struct value *node_from_end(struct node *n, struct value *i,
                            dim size); /* as i64; what is below 0 counts from the end */
struct value *node_cut(struct node *n, struct value *x, int axis, dim from, dim to);
/* The shape that the model declares for result I, all numbers: for what would otherwise be known only at run time. */
bool node_declared(struct node *n, int i, int *rank, dim *shape);
/* Faults at run time unless the elements of V, an integer scalar or vector, are these dims. */
bool node_must_be(struct node *n, struct value *v, int count, const dim *dims);

#endif
