/* SPDX-License-Identifier: Apache-2.0
 *
 * What libyunjin-base exports to the other libraries of Yunjin and to nobody else. In the symbol table each name has
 * the prefix yj__, so that it neither takes the place of a function of the program (or of one of its libraries, where
 * ours is preloaded) nor is replaced by one. A function added to base.h or dim.h gets a line here; a test compares.
 */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#define report yj__report
#define report_in yj__report_in
#define log_line yj__log_line
#define log_wants yj__log_wants
#define arena_open yj__arena_open
#define arena_close yj__arena_close
#define arena_new yj__arena_new
#define arena_text yj__arena_text
#define arena_bytes yj__arena_bytes
#define arena_new_array yj__arena_new_array
#define arena_guard yj__arena_guard
#define arena_leave yj__arena_leave
#define arena_fail_at yj__arena_fail_at
#define text_add yj__text_add
#define text_add_json yj__text_add_json
#define text_free yj__text_free
#define f16_to_f32 yj__f16_to_f32
#define f32_to_f16 yj__f32_to_f16
#define bf16_to_f32 yj__bf16_to_f32
#define f32_to_bf16 yj__f32_to_bf16
#define e4m3_to_f32 yj__e4m3_to_f32
#define f32_to_e4m3 yj__f32_to_e4m3
#define e5m2_to_f32 yj__e5m2_to_f32
#define f32_to_e5m2 yj__f32_to_e5m2
#define dtype_parse yj__dtype_parse
#define dtype_from_onnx yj__dtype_from_onnx
#define dtype_onnx yj__dtype_onnx
#define dtype_kind yj__dtype_kind
#define hash_bytes yj__hash_bytes
#define file_read yj__file_read
#define file_write_atomic yj__file_write_atomic
#define time_now yj__time_now
#define cpu_arch yj__cpu_arch
#define cpu_check_words yj__cpu_check_words
#define cpu_cores yj__cpu_cores
#define cpu_has yj__cpu_has
#define cpu_name_same yj__cpu_name_same
#define cpu_require yj__cpu_require
#define cpu_vector_bits yj__cpu_vector_bits
#define dim_table_open yj__dim_table_open
#define dim_const yj__dim_const
#define dim_symbol yj__dim_symbol
#define dim_symbol_below yj__dim_symbol_below
#define dim_symbol_multiple yj__dim_symbol_multiple
#define dim_find yj__dim_find
#define dim_add yj__dim_add
#define dim_sub yj__dim_sub
#define dim_mul yj__dim_mul
#define dim_div yj__dim_div
#define dim_ceil_div yj__dim_ceil_div
#define dim_mod yj__dim_mod
#define dim_min yj__dim_min
#define dim_max yj__dim_max
#define dim_is_const yj__dim_is_const
#define dim_is yj__dim_is
#define dim_equal yj__dim_equal
#define dim_less yj__dim_less
#define dim_linear yj__dim_linear
#define dim_contains yj__dim_contains
#define dim_substitute yj__dim_substitute
#define dim_copy yj__dim_copy
#define dim_symbols yj__dim_symbols
#define dim_print yj__dim_print
#define dim_parse yj__dim_parse
#define dim_parse_plain yj__dim_parse_plain
#define dim_eval yj__dim_eval

#endif
