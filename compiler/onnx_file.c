/* SPDX-License-Identifier: Apache-2.0
 *
 * An ONNX file in memory. Messages of protobuf may nest as deep as a file likes and are unpacked by recursion, so the
 * depth is counted on the bytes first.
 */
#include "compiler/onnx_inside.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_NESTED 100

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *v) {
    *v = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t c = *(*p)++;
        *v |= (uint64_t)(c & 0x7f) << shift;
        if (!(c & 0x80)) return true;
    }
    return false;
}

/* False: messages nest too deep. What is damaged is left to the real parser. */
static bool shallow(const ProtobufCMessageDescriptor *d, const uint8_t *p, const uint8_t *end, int depth) {
    uint64_t key, n;
    if (depth > MOST_NESTED) return false;
    while (p < end && varint(&p, end, &key)) {
        switch (key & 7) {
        case 0:
            if (!varint(&p, end, &n)) return true;
            break;
        case 1:
        case 5:
            n = (key & 7) == 1 ? 8 : 4;
            if (n > (uint64_t)(end - p)) return true;
            p += n;
            break;
        case 2: {
            if (!varint(&p, end, &n) || n > (uint64_t)(end - p)) return true;
            const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, (unsigned)(key >> 3));
            if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && !shallow(f->descriptor, p, p + n, depth + 1)) return false;
            p += n;
            break;
        }
        default:
            return true;
        }
    }
    return true;
}

enum yj_status onnx_open(const char *path, struct onnx_file **file) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0) close(fd);
        return report(fd < 0 ? YJ_ERR_IO : YJ_ERR_INPUT, "cannot open the model %s: %s", path,
                      fd < 0 ? strerror(errno) : "not a file");
    }
    size_t bytes = (size_t)st.st_size;
    void *map = bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    close(fd);
    if (map == MAP_FAILED) return report(YJ_ERR_IO, "cannot map the model %s: %s", path, strerror(errno));
    struct onnx_file *f = calloc(1, sizeof *f);
    bool deep = bytes && !shallow(&onnx__model_proto__descriptor, map, (const uint8_t *)map + bytes, 0);
    Onnx__ModelProto *model = f && bytes && !deep ? onnx__model_proto__unpack(NULL, bytes, map) : NULL;
    if (map) munmap(map, bytes);
    if (!model || !model->graph) {
        if (model) onnx__model_proto__free_unpacked(model, NULL);
        free(f);
        if (deep) return report(YJ_ERR_INPUT, "%s: messages nest more than %d deep", path, MOST_NESTED);
        return report(YJ_ERR_INPUT, "%s (%zu bytes) is not an ONNX model, or it is cut off", path, bytes);
    }
    const char *slash = strrchr(path, '/');
    f->folder = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
    f->model = model;
    *file = f;
    return YJ_OK;
}

void onnx_close(struct onnx_file *f) {
    if (!f) return;
    onnx__model_proto__free_unpacked(f->model, NULL);
    text_free(&f->refusals);
    free(f->folder);
    free(f);
}

const char *onnx_last_op(const struct onnx_file *f) {
    const Onnx__GraphProto *g = f->model->graph;
    const char *type = g->n_node ? g->node[g->n_node - 1]->op_type : NULL;
    return type ? type : "?";
}

bool import_declared(const Onnx__ValueInfoProto *v, struct onnx_declared *d) {
    const Onnx__TypeProto__Tensor *t = v->type ? v->type->tensor_type : NULL;
    if (!t || !t->shape || t->shape->n_dim > GRAPH_MAX_RANK) return false;
    *d = (struct onnx_declared){t->elem_type, (int)t->shape->n_dim, {0}};
    for (int i = 0; i < d->rank; i++) {
        const Onnx__TensorShapeProto__Dimension *e = t->shape->dim[i];
        bool symbolic = !e->has_dim_value || (e->dim_param && e->dim_param[0]) || e->dim_value < 0;
        d->shape[i] = symbolic ? -1 : e->dim_value;
    }
    return true;
}

bool onnx_declares(const struct onnx_file *f, bool output, int i, struct onnx_declared *d) {
    const Onnx__GraphProto *g = f->model->graph;
    for (size_t k = 0; k < (output ? g->n_output : g->n_input); k++) {
        const Onnx__ValueInfoProto *v = output ? g->output[k] : g->input[k];
        bool initialized = false;
        for (size_t j = 0; j < g->n_initializer && !output && v->name; j++)
            initialized |= g->initializer[j]->name && !strcmp(g->initializer[j]->name, v->name);
        if (!initialized && i-- == 0) return import_declared(v, d);
    }
    return false;
}
