/* SPDX-License-Identifier: Apache-2.0
 *
 * Reduction expressions for the verifier: a leaf is "what rank r gave for block b", a join is a reduction of operands
 * in their order. Equal expressions have equal ids, so equal ids mean equal bits.
 */
#ifndef COMM_EXPRESSION_H
#define COMM_EXPRESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct expressions;
struct expressions *expressions_open(int ranks, int blocks); /* NULL when out of memory */
void expressions_close(struct expressions *e);

uint32_t expression_leaf(const struct expressions *e, int rank, int block);
uint32_t expression_join(struct expressions *e, const uint32_t *operand, int n); /* 0 when out of memory */
/* The block its leaves belong to (of the first, should they differ). */
int expression_block(const struct expressions *e, uint32_t id);
/* Every rank's leaf of BLOCK exactly once, and nothing else? (By a 64-bit sum of random weights.) */
bool expression_is_sum(const struct expressions *e, uint32_t id, int block);
bool expression_ordered(const struct expressions *e, uint32_t id);   /* leaves of ranks 0 .. ranks-1 in this order */
bool expression_canonical(const struct expressions *e, uint32_t id); /* one join of the leaves of all ranks in order */
void expression_count(const struct expressions *e, uint32_t id, uint64_t *of_rank);       /* adds to of_rank[ranks] */
void expression_text(const struct expressions *e, uint32_t id, char *text, size_t bytes); /* cut with "..." */

#endif
