/* SPDX-License-Identifier: Apache-2.0
 *
 * The two tensor formats on bytes in memory: tensor_file.c has .npy, tensor_pb.c TensorProto.
 */
#ifndef RUNTIME_TENSOR_FILE_H
#define RUNTIME_TENSOR_FILE_H

#include "runtime/base/base.h"
#include <yunjin/runtime.h>

enum yj_status tensor_parse_npy(const void *bytes, size_t n, struct yj_tensor *t);
enum yj_status tensor_parse_pb(const void *bytes, size_t n, struct yj_tensor *t, char *name, size_t room);
/* What stands before the elements in a file. */
enum yj_status tensor_print_npy(const struct yj_tensor *t, struct text *head);
enum yj_status tensor_print_pb(const struct yj_tensor *t, size_t bytes, const char *name, struct text *head);
size_t tensor_most_bytes(void); /* of this machine's memory */

#endif
