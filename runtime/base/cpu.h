/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processor under our feet can do. Compiled kernels state what they need in words ("avx2 fma f16c", "asimd
 * sve", "rvv", "lasx") and, on chips whose vector registers have no fixed length, in bits; a library that needs more,
 * or another length, is refused before it is called: code for one length gives wrong numbers on another without any
 * trap.
 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include "runtime/base/base.h"

/* All words of MINIMUM hold here. An unknown word does not hold. NULL and "": true. */
bool cpu_has(const char *minimum);
/* The measured length of the scalable vector registers (SVE, RVV) in bits; 0 where there are none. */
int cpu_vector_bits(void);
/* YJ_ERR_UNSUPPORTED, naming the first word that is missing, or both lengths when VECTOR_BITS (0: not scalable) is not
 * the measured one. */
enum yj_status cpu_require(const char *minimum, int vector_bits);
/* YJ_ERR_INPUT unless every word of MINIMUM is one that chips of TRIPLE can be asked for, naming those that are. */
enum yj_status cpu_check_words(const char *triple, const char *minimum);
/* Names of targets: - and _ are the same. */
bool cpu_name_same(const char *a, const char *b);
/* How many processors this thread may run on; at least 1. */
int cpu_cores(void);
/* "x86_64", "aarch64", "riscv64", "loongarch64": how triples of targets begin. */
const char *cpu_arch(void);

#endif
