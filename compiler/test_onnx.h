/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs ONNX's conformance cases: folders with model.onnx and test_data_set_K/{input_I,output_I}.pb. Each ends in one of
 * four outcomes, which add up. Cases run in child processes, many in one; a child that dies costs its case alone.
 */
#ifndef COMPILER_TEST_ONNX_H
#define COMPILER_TEST_ONNX_H

#include "runtime/base/base.h"
#include <yunjin/runtime.h>

/* Runs the model on INPUTS (those of the file, in its order) and gives at least the first N_OUT outputs, made with
 * yj_tensor_new. The model is to be compiled before an input is looked at. YJ_ERR_UNSUPPORTED with an error line:
 * refused. */
typedef enum yj_status onnx_evaluate_fn(void *user, const char *model_path, int n_in, const struct yj_tensor *in,
                                        int n_out, struct yj_tensor *out);
onnx_evaluate_fn onnx_evaluate_graph; /* import, graph_verify, graph_eval */

enum onnx_outcome { ONNX_PASS, ONNX_FAIL, ONNX_UNSUPPORTED, ONNX_CRASH };
struct onnx_case {
    char *path, *op, *reason;
    enum onnx_outcome outcome;
}; /* op: of the model's last node; reason "" on a pass */
struct onnx_report {
    int n, count[4];
    struct onnx_case *cases;
}; /* sorted by path */

/* Every case at or below the folders DIRS. SECONDS: a case that takes longer counts as crashed. */
enum yj_status onnx_conform(int n_dirs, const char *const *dirs, onnx_evaluate_fn *evaluate, void *user, int seconds,
                            struct onnx_report *result);
void onnx_report_free(struct onnx_report *result);
const char *onnx_outcome_name(enum onnx_outcome outcome); /* "pass", "fail", "unsupported", "crash" */

#endif
