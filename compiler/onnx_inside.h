/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the importer: what the files that walk a model share; builders of operators need only onnx.h.
 *   onnx_file.c   opens the file, checks how deep it nests       onnx_node.c   operands, attributes and results of a
 * node onnx.c        names, nodes, inputs and outputs of a graph    onnx_flow.c   subgraphs and model-local functions
 */
#ifndef COMPILER_ONNX_INSIDE_H
#define COMPILER_ONNX_INSIDE_H

#include "compiler/onnx.h"

struct onnx_file {
    char *folder;
    Onnx__ModelProto *model;
    struct text refusals; /* here, so that a jump out of the import loses no memory */
};

struct entry {
    const char *name;
    struct item *item;
    struct entry *next;
};
struct scope {
    struct scope *outer;
    size_t n_buckets;
    struct entry **buckets;
};

struct import {
    struct onnx_file *file;
    struct arena *arena;
    struct graph *g;
    const struct onnx_options *options;
    struct scope *scope;
    const Onnx__FunctionProto *function; /* whose nodes are imported; it has opsets of its own */
    int n_refusals, n_nodes, n_weights, depth;
    bool *bound_used; /* of each bound of the options: some input has the dimension */
    const char **node_names;
    int room_nodes;
};

struct scope *scope_new(struct import *im, struct scope *outer, size_t names);
struct item *scope_find(struct scope *s, const char *name);
struct item *scope_here(const struct scope *s, const char *name); /* without outer scopes */
struct item *scope_add(struct import *im, const char *name);
struct value *item_value(struct node *n, struct item *item); /* makes the data of a known integer tensor */
bool node_understood(struct node *n);
struct item *node_result(struct node *n, int i);
const char *node_label(const Onnx__NodeProto *p); /* its name, else its first output's */
bool import_declared(const Onnx__ValueInfoProto *v, struct onnx_declared *d);
int import_opset(const struct import *im, const char *domain);
size_t import_names(const Onnx__GraphProto *p);
enum yj_status import_initializers(struct import *im, struct graph *g, const Onnx__GraphProto *p);
enum yj_status import_nodes(struct import *im, struct graph *g, size_t n, Onnx__NodeProto *const *nodes,
                            const char *where);
bool import_function(struct node *n, const Onnx__FunctionProto *f);

#endif
