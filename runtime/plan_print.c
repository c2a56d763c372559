/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan as text. The printer writes one form only, so print(parse(t)) = t for every t it has written.
 */
#include "runtime/plan.h"

#include <inttypes.h>

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static void print_string(struct text *out, const char *s) {
    text_add(out, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            text_add(out, "\\%c", c);
        else if (c < 32 || c == 127)
            text_add(out, "\\x%02x", c);
        else
            text_add(out, "%c", c);
    }
    text_add(out, "\"");
}

/* A word where it is one, else a string. */
static void print_name(struct text *out, const char *s) {
    bool word = is_letter(s[0]);
    for (const char *c = s; *c && word; c++)
        word = is_letter(*c) || is_digit(*c);
    if (word)
        text_add(out, "%s", s);
    else
        print_string(out, s);
}

static void print_shape(struct text *out, int rank, const dim *shape) {
    text_add(out, "[");
    for (int i = 0; i < rank; i++) {
        if (i) text_add(out, ", ");
        dim_print(out, shape[i]);
    }
    text_add(out, "]");
}

static void print_dim(struct text *out, const char *before, dim d) {
    text_add(out, "%s", before);
    dim_print(out, d);
}

static void print_bound(struct text *out, int64_t v) {
    if (v == DIM_UNBOUNDED)
        text_add(out, "inf");
    else
        text_add(out, "%" PRId64, v);
}

static void print_kernel(struct text *out, const struct plan_kernel *k) {
    text_add(out, "kernel ");
    print_name(out, k->name);
    text_add(out, "(");
    for (int i = 0; i < k->n_dims; i++) {
        dim symbol = dim_find(k->dims, k->dim_names[i]);
        text_add(out, "%s%s ", i ? ", " : "", k->dim_names[i]);
        print_bound(out, symbol ? symbol->low : 0);
        text_add(out, "..");
        print_bound(out, symbol ? symbol->high : DIM_UNBOUNDED);
    }
    text_add(out, ")");
    for (int i = 0; i < k->n_args; i++)
        text_add(out, " %s", plan_role_names[k->args[i]]);
    text_add(out, " {\n");
    for (int v = 0; v < k->n_variants; v++) {
        const struct plan_variant *variant = &k->variants[v];
        text_add(out, "  ");
        print_name(out, variant->symbol);
        print_dim(out, " tiles ", variant->tiles);
        print_dim(out, " scratch ", variant->scratch);
        print_dim(out, " ns ", variant->ns);
        for (int g = 0; g < variant->n_guards; g++) {
            print_dim(out, g ? ", " : " when ", variant->guards[g].low);
            print_dim(out, " <= ", variant->guards[g].value);
            print_dim(out, " <= ", variant->guards[g].high);
        }
        text_add(out, "\n");
    }
    text_add(out, "}\n");
}

static void print_buffer(struct text *out, const struct plan_buffer *b, int number) {
    text_add(out, "%%%d ", number);
    print_string(out, b->name);
    text_add(out, " %s %s", yj_dtype_name(b->dtype), plan_space_names[b->space]);
    if (b->space == PLAN_DEVICE) text_add(out, " %d", b->device);
    text_add(out, " %s", plan_kind_names[b->kind]);
    if (b->kind == PLAN_ALIAS) {
        text_add(out, " %%%d", b->of);
        print_dim(out, " at ", b->at);
    }
    print_dim(out, " bytes ", b->bytes);
    if (b->kind == PLAN_WEIGHT) {
        text_add(out, " file %d", b->file);
        print_dim(out, " at ", b->at);
    }
    if (b->kind == PLAN_TEMP) text_add(out, " live #%d %d..%d", b->block, b->first, b->last);
    text_add(out, "\n");
}

static void print_port(struct text *out, const char *word, const struct plan_port *port) {
    text_add(out, "%s ", word);
    print_string(out, port->name);
    text_add(out, " %%%d %s ", port->buffer, yj_dtype_name(port->dtype));
    print_shape(out, port->rank, port->shape);
    text_add(out, "\n");
}

static void print_state(struct text *out, const struct plan_state *s) {
    text_add(out, "state ");
    print_string(out, s->name_in);
    text_add(out, " ");
    print_string(out, s->name_out);
    text_add(out, " %%%d %s ", s->buffer, yj_dtype_name(s->dtype));
    print_shape(out, s->rank, s->in);
    text_add(out, " -> ");
    print_shape(out, s->rank, s->out);
    text_add(out, " in ");
    print_shape(out, s->rank, s->storage);
    text_add(out, "\n");
}

static void print_step_body(struct text *out, const struct plan *p, const struct plan_step *s) {
    switch (s->kind) {
    case PLAN_LAUNCH:
        text_add(out, " ");
        print_name(out, p->kernels[s->kernel].name);
        text_add(out, "(");
        for (int i = 0; i < s->n_buffers; i++)
            text_add(out, "%s%%%d", i ? ", " : "", s->buffers[i]);
        text_add(out, ")");
        print_shape(out, s->n_dims, s->dims);
        break;
    case PLAN_COPY:
        text_add(out, " %%%d", s->buffers[0]);
        print_dim(out, " at ", s->at);
        text_add(out, " = %%%d", s->buffers[1]);
        print_dim(out, " at ", s->from);
        print_dim(out, " bytes ", s->count);
        break;
    case PLAN_START:
        text_add(out, " !%d %s %s %s %%%d -> %%%d", s->request, plan_collective_names[s->collective],
                 plan_reduce_names[s->reduce], yj_dtype_name(s->dtype), s->buffers[1], s->buffers[0]);
        print_dim(out, " count ", s->count);
        text_add(out, " axis %s", p->mesh.name[s->axis]);
        break;
    case PLAN_WAIT:
        text_add(out, " !%d", s->request);
        break;
    case PLAN_BIND:
        text_add(out, " %%%d %s", s->buffers[0], yj_dtype_name(s->dtype));
        for (int i = 0; i < s->n_dims; i++)
            print_dim(out, i ? ", " : " ", s->dims[i]);
        break;
    case PLAN_BRANCH:
        print_dim(out, " ", s->condition);
        for (int i = 0; i < 2; i++) {
            int block = i ? s->otherwise : s->block;
            if (block < 0)
                text_add(out, " none");
            else
                text_add(out, " #%d", block);
        }
        break;
    case PLAN_CHECK:
        print_dim(out, " ", s->condition);
        break;
    case PLAN_CALL:
        text_add(out, " #%d", s->block);
        if (s->index) print_dim(out, " index ", s->index);
        if (s->turns) print_dim(out, " turns ", s->turns);
        if (s->trips) print_dim(out, " trips ", s->trips);
        if (s->condition) print_dim(out, " while ", s->condition);
        break;
    }
}

static void print_block(struct text *out, const struct plan *p, int number) {
    const struct plan_block *b = &p->blocks[number];
    text_add(out, "block #%d ", number);
    print_string(out, b->name);
    text_add(out, " {\n");
    for (int i = 0; i < b->n_steps; i++) {
        const struct plan_step *s = &b->steps[i];
        text_add(out, "  %d q%d ", i, s->queue);
        for (int a = 0; a < s->n_after; a++)
            text_add(out, "%s%d", a ? "," : "after ", s->after[a]);
        text_add(out, "%s%s", s->n_after ? " " : "", plan_step_names[s->kind]);
        print_step_body(out, p, s);
        for (int o = 0; o < s->n_origin; o++)
            text_add(out, "%s%d", o ? "," : " @", s->origin[o]);
        text_add(out, "\n");
    }
    text_add(out, "}\n");
}

void plan_print(struct text *out, const struct plan *p) {
    text_add(out, "plan %d", PLAN_VERSION);
    for (int i = 0; i < p->mesh.n; i++)
        text_add(out, "%s%s=%d", i ? "," : " mesh(", p->mesh.name[i], p->mesh.size[i]);
    text_add(out, p->mesh.n ? ")\n" : "\n");
    for (int i = 0; i < p->n_nodes; i++) {
        text_add(out, "node %d ", p->node[i]);
        print_string(out, p->node_names[i]);
        text_add(out, "\n");
    }
    for (int i = 0; i < p->n_dims; i++) {
        text_add(out, "dim %s ", p->dim[i].symbol->name);
        print_bound(out, p->dim[i].low);
        text_add(out, "..");
        print_bound(out, p->dim[i].high);
        text_add(out, " %s\n", plan_dim_kind_names[p->dim[i].kind]);
    }
    for (int i = 0; i < p->n_kernels; i++)
        print_kernel(out, &p->kernels[i]);
    for (int i = 0; i < p->n_buffers; i++)
        print_buffer(out, &p->buffers[i], i);
    for (int i = 0; i < p->n_inputs; i++)
        print_port(out, "input", &p->inputs[i]);
    for (int i = 0; i < p->n_outputs; i++)
        print_port(out, "output", &p->outputs[i]);
    for (int i = 0; i < p->n_states; i++)
        print_state(out, &p->states[i]);
    for (int i = 0; i < p->n_blocks; i++)
        print_block(out, p, i);
}
