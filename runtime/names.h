/* SPDX-License-Identifier: Apache-2.0
 *
 * What libyunjin-runtime exports to the compiler library and to the command, and to nobody else. In the symbol table
 * each name has the prefix yj__ (see runtime/base/names.h). tests/runtime/symbols.sh compares.
 */
#ifndef RUNTIME_NAMES_H
#define RUNTIME_NAMES_H

#define manifest_check yj__manifest_check
#define manifest_file yj__manifest_file
#define manifest_read yj__manifest_read
#define manifest_verify yj__manifest_verify
#define memory_assign yj__memory_assign
#define memory_times yj__memory_times
#define model_abandon yj__model_abandon
#define model_add yj__model_add
#define model_add_weights yj__model_add_weights
#define model_create yj__model_create
#define model_finish yj__model_finish
#define plan_at_bind yj__plan_at_bind
#define plan_at_open yj__plan_at_open
#define plan_axis yj__plan_axis
#define plan_collective_names yj__plan_collective_names
#define plan_dim_kind_names yj__plan_dim_kind_names
#define plan_kind_names yj__plan_kind_names
#define plan_load yj__plan_load
#define plan_new yj__plan_new
#define plan_node_name yj__plan_node_name
#define plan_parse yj__plan_parse
#define plan_print yj__plan_print
#define plan_ranks yj__plan_ranks
#define plan_reduce_names yj__plan_reduce_names
#define plan_report yj__plan_report
#define plan_role_names yj__plan_role_names
#define plan_root yj__plan_root
#define plan_space_names yj__plan_space_names
#define plan_step_names yj__plan_step_names
#define plan_step_role yj__plan_step_role
#define plan_verify yj__plan_verify
#define plan_where yj__plan_where
#define pool_default_threads yj__pool_default_threads
#define profile_merge yj__profile_merge
#define safetensors_close yj__safetensors_close
#define safetensors_find yj__safetensors_find
#define safetensors_layout yj__safetensors_layout
#define safetensors_open yj__safetensors_open
#define safetensors_parse yj__safetensors_parse

#endif
