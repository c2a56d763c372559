/* SPDX-License-Identifier: Apache-2.0
 *
 * The importer on damaged models: bytes flipped and cut, and fields changed on purpose (sizes, names, types, lost and
 * doubled nodes, cycles, deep subgraphs). It refuses with an error line or gives a graph that verifies; it never
 * crashes (run under ASan) and never hangs. Models: tests/compiler/onnx, and ONNX's node cases where they are
 * installed. YUNJIN_FUZZ=SEED..COUNT runs others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/onnx.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CASES "/usr/share/libonnx-testdata/data/node"

static uint64_t seed;

static uint64_t draw(uint64_t below) { /* splitmix64 */
    uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

/* ---- models */

static char **models;
static int n_models;

static void add_model(const char *folder, const char *name, const char *file) {
    char *path;
    assert_true(asprintf(&path, "%s/%s%s", folder, name, file) > 0);
    models = realloc(models, sizeof *models * (size_t)(n_models + 1));
    assert_non_null(models);
    models[n_models++] = path;
}

static void find_models(const char *folder, const char *file) {
    struct dirent **list;
    int n = scandir(folder, &list, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        size_t length = strlen(list[i]->d_name);
        bool model = length > 5 && !strcmp(list[i]->d_name + length - 5, ".onnx");
        if (file[0] ? list[i]->d_name[0] != '.' : model) add_model(folder, list[i]->d_name, file);
        free(list[i]);
    }
    if (n >= 0) free(list);
}

/* ---- one import */

struct job {
    struct onnx_file *file;
    struct arena *arena;
    bool accepted;
};

static enum yj_status import(void *argument) {
    struct job *j = argument;
    struct graph *g;
    struct onnx_options none = {0};
    struct text text = {0};
    TRY(onnx_import(j->file, j->arena, &none, &g));
    if (graph_verify(g) != YJ_OK) fail_msg("an accepted model does not verify: %s", yj_error_text());
    graph_print(&text, g);
    text_free(&text);
    j->accepted = true;
    return YJ_OK;
}

static int accepted, refused;

static void import_file(const char *path) {
    struct job j = {0};
    report(YJ_ERR_INPUT, "no line was written");
    enum yj_status status = onnx_open(path, &j.file);
    if (status == YJ_OK && (j.arena = arena_open())) status = arena_guard(import, &j);
    if (status != YJ_OK && (!yj_error_text()[0] || strstr(yj_error_text(), "no line was written")))
        fail_msg("%s: refused without a reason", path);
    if (status == YJ_ERR_INTERNAL) fail_msg("%s: %s", path, yj_error_text());
    if (j.arena) arena_close(j.arena);
    onnx_close(j.file);
    if (j.accepted)
        accepted++;
    else
        refused++;
}

static char scratch[] = "/tmp/yunjin-fuzz-XXXXXX";
static int scratch_fd;

static void import_bytes(const void *bytes, size_t n) {
    assert_int_equal(ftruncate(scratch_fd, 0), 0);
    assert_int_equal(pwrite(scratch_fd, bytes, n, 0), (ssize_t)n);
    import_file(scratch);
}

static void import_model(const Onnx__ModelProto *m) {
    size_t n = onnx__model_proto__get_packed_size(m);
    uint8_t *bytes = malloc(n + 1);
    assert_non_null(bytes);
    onnx__model_proto__pack(m, bytes);
    import_bytes(bytes, n);
    free(bytes);
}

/* ---- damage */

static void damage_bytes(char *bytes, size_t *n) {
    for (uint64_t edits = 1 + draw(4); edits > 0 && *n; edits--) {
        size_t at = draw(*n);
        switch (draw(4)) {
        case 0:
            bytes[at] = (char)(bytes[at] ^ 1 << draw(8));
            break;
        case 1:
            bytes[at] = (char)draw(256);
            break;
        case 2:
            bytes[at] = (char)(draw(2) ? 0xff : 0x80);
            break;
        default:
            if (draw(4) == 0) *n = at;
        }
    }
}

static const int64_t odd_numbers[] = {0,
                                      1,
                                      -1,
                                      2,
                                      3,
                                      7,
                                      64,
                                      255,
                                      1 << 20,
                                      INT64_C(1) << 31,
                                      INT64_C(1) << 40,
                                      INT64_C(1) << 62,
                                      INT64_MAX,
                                      INT64_MIN,
                                      INT64_MIN + 1,
                                      -2,
                                      -100};

static int64_t odd(void) {
    return odd_numbers[draw(COUNT(odd_numbers))];
}

static void damage_attribute(Onnx__AttributeProto *a) {
    if (a->n_ints)
        a->ints[draw(a->n_ints)] = odd();
    else if (a->n_floats)
        a->floats[draw(a->n_floats)] = draw(2) ? __builtin_nanf("") : 1e30f;
    else if (a->t && a->t->n_dims)
        a->t->dims[draw(a->t->n_dims)] = odd();
    else if (a->t)
        a->t->data_type = (int)draw(30);
    else
        a->i = odd(), a->has_i = 1, a->f = (float)odd(), a->has_f = 1;
    if (draw(8) == 0 && a->n_ints) a->n_ints = draw(a->n_ints);
    if (draw(8) == 0) a->type = (int)draw(15);
}

/* Strings that are put in are borrowed: they are taken out again by the caller's copy of the list. */
static char *any_name(const Onnx__GraphProto *g) {
    if (!g->n_node) return "x";
    const Onnx__NodeProto *p = g->node[draw(g->n_node)];
    if (p->n_output && draw(2)) return p->output[draw(p->n_output)];
    return p->n_input ? p->input[draw(p->n_input)] : "";
}

static void damage_node(const Onnx__GraphProto *g, Onnx__NodeProto *p) {
    switch (draw(6)) {
    case 0:
        if (p->n_input) p->input[draw(p->n_input)] = any_name(g);
        break;
    case 1:
        if (p->n_output) p->output[draw(p->n_output)] = any_name(g);
        break;
    case 2:
        if (p->n_input) p->n_input -= 1 + draw(p->n_input);
        break;
    case 3:
        if (g->n_node) p->op_type = g->node[draw(g->n_node)]->op_type;
        break;
    default:
        if (p->n_attribute)
            damage_attribute(p->attribute[draw(p->n_attribute)]);
        else if (p->n_input)
            p->input[draw(p->n_input)] = draw(2) ? "" : any_name(g);
    }
}

static void damage_type(Onnx__ValueInfoProto *v) {
    Onnx__TypeProto__Tensor *t = v->type ? v->type->tensor_type : NULL;
    if (!t) return;
    if (!t->shape || !t->shape->n_dim || draw(3) == 0) {
        t->elem_type = (int)draw(30);
        t->has_elem_type = 1;
        return;
    }
    Onnx__TensorShapeProto__Dimension *d = t->shape->dim[draw(t->shape->n_dim)];
    if (draw(4) == 0)
        t->shape->n_dim--;
    else if (draw(3) == 0)
        d->has_dim_value = 0;
    else
        d->dim_value = odd(), d->has_dim_value = 1;
}

static void damage_tensor(Onnx__TensorProto *t) {
    switch (draw(4)) {
    case 0:
        if (t->n_dims) t->dims[draw(t->n_dims)] = odd();
        break;
    case 1:
        t->data_type = (int)draw(30);
        break;
    case 2:
        if (t->raw_data.len) t->raw_data.len -= 1;
        break;
    default:
        if (t->n_int64_data)
            t->int64_data[draw(t->n_int64_data)] = odd();
        else if (t->raw_data.len >= 8)
            memcpy(t->raw_data.data, &(int64_t){odd()}, 8);
    }
}

/* Edits the message where it may, packs it, and puts back what was borrowed by never freeing the edited message: it is
 * one that a second unpacking made, in an arena of its own. */
static void damage_model(Onnx__ModelProto *m) {
    Onnx__GraphProto *g = m->graph;
    for (uint64_t edits = 1 + draw(3); edits > 0; edits--) {
        switch (draw(8)) {
        case 0:
            if (g->n_initializer) damage_tensor(g->initializer[draw(g->n_initializer)]);
            break;
        case 1:
            if (g->n_input) damage_type(g->input[draw(g->n_input)]);
            break;
        case 2:
            if (g->n_output) damage_type(g->output[draw(g->n_output)]);
            break;
        case 3:
            if (m->n_opset_import)
                m->opset_import[draw(m->n_opset_import)]->version = draw(2) ? (int64_t)draw(30) : odd();
            break;
        case 4:
            if (g->n_node) g->node[draw(g->n_node)] = g->node[draw(g->n_node)]; /* one is lost, one is doubled */
            break;
        default:
            if (g->n_node) damage_node(g, g->node[draw(g->n_node)]);
        }
    }
}

static void *take(void *arena, size_t n) {
    return arena_new(arena, n);
}
static void keep(void *arena, void *p) {}

static void one(int i) {
    char *bytes;
    size_t n;
    seed = (uint64_t)i * 7919;
    const char *path = models[draw((uint64_t)n_models)];
    if (file_read(path, &bytes, &n) != YJ_OK) fail_msg("%s", yj_error_text());
    if (n > 100000) n = 100000;
    if (draw(3) == 0) {
        damage_bytes(bytes, &n);
        import_bytes(bytes, n);
    } else {
        struct arena *arena = arena_open();
        ProtobufCAllocator in_arena = {take, keep, arena};
        Onnx__ModelProto *m = onnx__model_proto__unpack(&in_arena, n, (const uint8_t *)bytes);
        if (m && m->graph) {
            damage_model(m);
            import_model(m);
        }
        arena_close(arena);
    }
    free(bytes);
}

static int current;

static void died(int number) {
    char line[80];
    int n = snprintf(line, sizeof line, "signal %d in mutation %d (YUNJIN_FUZZ=%d..1)\n", number, current, current);
    if (write(2, line, (size_t)n) < 0) _exit(3);
    signal(number, SIG_DFL);
    raise(number);
}

static void mutations(void **state) {
    const char *range = getenv("YUNJIN_FUZZ"), *dots = range ? strstr(range, "..") : NULL;
    int first = range ? atoi(range) : 1, count = dots ? atoi(dots + 2) : 2000;
    signal(SIGALRM, died);
    for (current = first; current < first + count; current++) {
        alarm(30);
        one(current);
    }
    alarm(0);
    print_message("%d mutations: %d refused, %d accepted\n", count, refused, accepted);
    if (!range) assert_true(refused > 200 && accepted > 50);
}

/* ---- shapes of trouble that are written on purpose */

static size_t put(uint8_t *out, int field, size_t n) { /* the head of a length-delimited field */
    size_t at = 0;
    out[at++] = (uint8_t)(field << 3 | 2);
    for (; n > 127; n >>= 7)
        out[at++] = (uint8_t)(n | 128);
    out[at++] = (uint8_t)n;
    return at;
}

/* graph { node { attribute { g { node ... DEPTH times, written from the inside out. */
static void deep_subgraphs(void **state) {
    enum { DEPTH = 100000 };
    static const int fields[3] = {6, 5, 1}; /* attribute.g, node.attribute, graph.node */
    size_t room = 24 * (size_t)DEPTH, at = room;
    uint8_t *bytes = malloc(room), head[16];
    assert_non_null(bytes);
    for (int i = 0; i < 3 * DEPTH; i++) {
        size_t n = put(head, fields[i % 3], room - at);
        assert_true(n <= at);
        at -= n;
        memcpy(bytes + at, head, n);
    }
    size_t n = put(head, 7, room - at);
    at -= n;
    memcpy(bytes + at, head, n);
    refused = 0;
    import_bytes(bytes + at, room - at);
    assert_int_equal(refused, 1);
    assert_non_null(strstr(yj_error_text(), "deep"));
    free(bytes);
}

/* A function that calls the next one twice, 40 times over, and one that calls itself: they end in a refusal. */
static void greedy_functions(void **state) {
    enum { N = 40 };
    static char names[N + 1][8];
    char *x[] = {"x"}, *y[] = {"y"}, *m[] = {"m"};
    Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, local = ONNX__OPERATOR_SET_ID_PROTO__INIT;
    Onnx__OperatorSetIdProto *opsets[] = {&opset, &local};
    static Onnx__FunctionProto f[N];
    static Onnx__NodeProto node[N][2];
    static Onnx__NodeProto *nodes[N][2];
    Onnx__FunctionProto *functions[N];
    opset.domain = "";
    opset.version = local.version = 13;
    opset.has_version = local.has_version = 1;
    local.domain = "local";
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "f%d", i);
        for (int k = 0; k < 2; k++) {
            onnx__node_proto__init(&node[i][k]);
            nodes[i][k] = &node[i][k];
            node[i][k].domain = "local";
            node[i][k].op_type = names[i + 1 == N ? 0 : i + 1];
            node[i][k].input = k ? m : x;
            node[i][k].output = k ? y : m;
            node[i][k].n_input = node[i][k].n_output = 1;
        }
        onnx__function_proto__init(&f[i]);
        functions[i] = &f[i];
        f[i].name = names[i];
        f[i].domain = "local";
        f[i].n_input = f[i].n_output = 1;
        f[i].input = x;
        f[i].output = y;
        f[i].n_node = 2;
        f[i].node = nodes[i];
    }
    Onnx__NodeProto call = node[N - 1][0];
    Onnx__NodeProto *calls[] = {&call};
    Onnx__TypeProto__Tensor tensor = ONNX__TYPE_PROTO__TENSOR__INIT;
    Onnx__TypeProto type = ONNX__TYPE_PROTO__INIT;
    Onnx__TensorShapeProto shape = ONNX__TENSOR_SHAPE_PROTO__INIT;
    Onnx__ValueInfoProto in = ONNX__VALUE_INFO_PROTO__INIT, out = ONNX__VALUE_INFO_PROTO__INIT;
    Onnx__ValueInfoProto *ins[] = {&in}, *outs[] = {&out};
    Onnx__GraphProto g = ONNX__GRAPH_PROTO__INIT;
    Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
    tensor.elem_type = tensor.has_elem_type = 1;
    tensor.shape = &shape;
    type.tensor_type = &tensor;
    in.name = "x";
    out.name = "m";
    in.type = out.type = &type;
    g.n_node = g.n_input = g.n_output = 1;
    g.node = calls;
    g.input = ins;
    g.output = outs;
    model.graph = &g;
    model.n_opset_import = 2;
    model.opset_import = opsets;
    model.n_functions = N;
    model.functions = functions;
    refused = 0;
    import_model(&model);
    assert_int_equal(refused, 1);
    model.n_functions = 1;
    f[0].node[0]->op_type = f[0].node[1]->op_type = names[0];
    import_model(&model);
    assert_int_equal(refused, 2);
    assert_non_null(strstr(yj_error_text(), "deep"));
}

int main(void) {
    scratch_fd = mkstemp(scratch);
    if (scratch_fd < 0) return 1;
    find_models(SOURCE_DIR "/tests/compiler/onnx", "");
    for (int i = 0, own = n_models; i < 20 * own; i++)
        add_model("", models[i % own], ""); /* a third of the draws */
    if (access(CASES, R_OK) == 0)
        find_models(CASES, "/model.onnx");
    else
        puts("ONNX's node cases are not installed: only the own models are damaged");
    const struct CMUnitTest tests[] = {cmocka_unit_test(mutations), cmocka_unit_test(deep_subgraphs),
                                       cmocka_unit_test(greedy_functions)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(scratch);
    for (int i = 0; i < n_models; i++)
        free(models[i]);
    free(models);
    return failed;
}
