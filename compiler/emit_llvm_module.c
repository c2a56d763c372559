/* SPDX-License-Identifier: Apache-2.0
 *
 * From kernels to an object file: target machine, module, passes, code. The one idea: one module and one LLVM context
 * for each call, nothing kept between calls, and a fixed short list of passes: kernels are made of straight loops
 * already, so that LLVM's inliner, vectorisers, unroller and library-call recognition have nothing to do here.
 */
#include "compiler/emit_llvm.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <stdlib.h>

static const char passes[] = "function(sroa<modify-cfg>,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg),"
                             "function(loop-mssa(loop-rotate,licm<allowspeculation>)),"
                             "function(sroa<modify-cfg>,instcombine<no-verify-fixpoint>,gvn,dse,"
                             "loop-mssa(licm<allowspeculation>),instcombine<no-verify-fixpoint>,"
                             "simplifycfg,early-cse<memssa>),globaldce";

void emit_llvm_version(char text[32]) {
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    snprintf(text, 32, "%u.%u.%u", major, minor, patch);
}

enum yj_status emit_vector_bits(const struct emit_options *options, int *bits) {
    const struct yj_target *t = options->target;
    if (!t->vector_lengths[0]) {
        if (options->vector_bits && options->vector_bits != t->vector_bits)
            return report(YJ_ERR_INPUT, "target %s has vectors of %d bits, not %d", t->name, t->vector_bits,
                          options->vector_bits);
        *bits = t->vector_bits;
        return YJ_OK;
    }
    for (size_t i = 0; i < COUNT(t->vector_lengths) && t->vector_lengths[i]; i++) {
        if (options->vector_bits && options->vector_bits != t->vector_lengths[i]) continue;
        *bits = t->vector_lengths[i];
        return YJ_OK;
    }
    return report(YJ_ERR_INPUT, "target %s lists no vector length of %d bits", t->name, options->vector_bits);
}

/* --- target machine --- */

static bool starts(const char *text, const char *with) {
    return strncmp(text, with, strlen(with)) == 0;
}

static enum yj_status find_arch(const struct yj_target *t, enum arch *arch) {
    if (starts(t->triple, "x86_64"))
        *arch = ARCH_X86;
    else if (starts(t->triple, "aarch64"))
        *arch = ARCH_ARM;
    else if (starts(t->triple, "riscv64"))
        *arch = ARCH_RISCV;
    else if (starts(t->triple, "loongarch64"))
        *arch = ARCH_LOONGARCH;
    else
        return report(YJ_ERR_UNSUPPORTED, "target %s: no LLVM emitter for %s", t->name, t->triple);
    return YJ_OK;
}

static void init_arch(enum arch arch) {
    switch (arch) {
    case ARCH_X86:
        LLVMInitializeX86TargetInfo(), LLVMInitializeX86Target(), LLVMInitializeX86TargetMC(),
            LLVMInitializeX86AsmPrinter();
        return;
    case ARCH_ARM:
        LLVMInitializeAArch64TargetInfo(), LLVMInitializeAArch64Target(), LLVMInitializeAArch64TargetMC();
        LLVMInitializeAArch64AsmPrinter();
        return;
    case ARCH_RISCV:
        LLVMInitializeRISCVTargetInfo(), LLVMInitializeRISCVTarget(), LLVMInitializeRISCVTargetMC(),
            LLVMInitializeRISCVAsmPrinter();
        return;
    case ARCH_LOONGARCH:
        LLVMInitializeLoongArchTargetInfo(), LLVMInitializeLoongArchTarget(), LLVMInitializeLoongArchTargetMC();
        LLVMInitializeLoongArchAsmPrinter();
        return;
    }
}

/* The target's features; RISC-V's vector length is one of them. */
static void feature_list(const struct yj_target *t, enum arch arch, int vector_bits, struct text *out) {
    text_add(out, "%s", t->features ? t->features : "");
    if (arch == ARCH_RISCV && t->vector_lengths[0]) text_add(out, "%s+zvl%db", out->n ? "," : "", vector_bits);
}

static enum yj_status machine_new(const struct yj_target *t, enum arch arch, int vector_bits,
                                  LLVMTargetMachineRef *machine) {
    char *error = NULL;
    LLVMTargetRef target;
    init_arch(arch);
    if (LLVMGetTargetFromTriple(t->triple, &target, &error)) {
        enum yj_status status = report(YJ_ERR_UNSUPPORTED, "target %s: %s", t->name, error);
        LLVMDisposeMessage(error);
        return status;
    }
    struct text features = {0};
    feature_list(t, arch, vector_bits, &features);
    if (features.failed) return report(YJ_ERR_MEMORY, "out of memory");
    LLVMTargetMachineOptionsRef options = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(options, t->cpu ? t->cpu : "");
    LLVMTargetMachineOptionsSetFeatures(options, features.data ? features.data : "");
    if (t->abi) LLVMTargetMachineOptionsSetABI(options, t->abi);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(options, LLVMCodeGenLevelDefault);
    LLVMTargetMachineOptionsSetRelocMode(options, LLVMRelocPIC);
    *machine = LLVMCreateTargetMachineWithOptions(target, t->triple, options);
    LLVMDisposeTargetMachineOptions(options);
    text_free(&features);
    return *machine ? YJ_OK : report(YJ_ERR_UNSUPPORTED, "target %s: LLVM makes no machine for %s", t->name, t->triple);
}

/* --- the module --- */

struct build {
    const struct emit_options *options;
    const struct kernel *const *kernels;
    int n;
    struct emit *e;
};

static void find_memory_features(struct emit *e) {
    const struct yj_target *t = e->target;
    bool wide = strstr(t->cpu, "x86-64-v4") || (t->features && strstr(t->features, "+avx512vl"));
    e->wide_masks = (e->arch == ARCH_X86 && wide) ||
                    (e->arch == ARCH_ARM && t->vector_lengths[0] && e->vector_bits >= 256) ||
                    (e->arch == ARCH_RISCV && e->vector_bits);
    e->word_masks = e->wide_masks || e->arch == ARCH_X86;
}

/* Runs under arena_guard: what follows may run out of memory anywhere. */
static enum yj_status build_kernels(void *argument) {
    struct build *build = argument;
    struct emit *e = build->e;
    for (int i = 0; i < build->n; i++) {
        const struct emit fresh = *e;
        e->k = kernel_copy(e->arena, build->kernels[i]);
        int lines = kernel_number_lines(e->k);
        kernel_expand_reduce(e->k);
        kernel_expand_math(e->k);
        emit_function(e);
        if (e->status != YJ_OK) return e->status;
        *e = fresh;
        e->first_line += lines;
    }
    ll_debug_close(e);
    return YJ_OK;
}

static void add_flag(struct emit *e, LLVMModuleFlagBehavior behavior, const char *name, LLVMMetadataRef value) {
    LLVMAddModuleFlag(e->module, behavior, name, strlen(name), value);
}

static void on_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
    enum yj_status *status = user;
    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || *status != YJ_OK) return;
    char *text = LLVMGetDiagInfoDescription(info);
    *status = report(YJ_ERR_UNSUPPORTED, "LLVM: %s", text);
    LLVMDisposeMessage(text);
}

static enum yj_status run_passes(struct emit *e, LLVMTargetMachineRef machine) {
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(e->module, passes, machine, options);
    LLVMDisposePassBuilderOptions(options);
    if (!error) return YJ_OK;
    char *text = LLVMGetErrorMessage(error);
    enum yj_status status = report(YJ_ERR_INTERNAL, "LLVM passes: %s", text);
    LLVMDisposeErrorMessage(text);
    return status;
}

static enum yj_status take(const char *from, size_t n, char **data, size_t *bytes) {
    char *copy = malloc(n + 1);
    if (!copy) return report(YJ_ERR_MEMORY, "out of memory for %zu bytes of code", n);
    memcpy(copy, from, n);
    copy[n] = 0;
    *data = copy;
    *bytes = n;
    return YJ_OK;
}

static enum yj_status print_module(struct emit *e, char **data, size_t *bytes) {
    char *text = LLVMPrintModuleToString(e->module);
    enum yj_status status = take(text, strlen(text), data, bytes);
    LLVMDisposeMessage(text);
    return status;
}

static enum yj_status finish(struct emit *e, LLVMTargetMachineRef machine, enum emit_form form, char **data,
                             size_t *bytes) {
    char *error = NULL;
    if (form == EMIT_RAW_IR) return print_module(e, data, bytes);
    if (LLVMVerifyModule(e->module, LLVMReturnStatusAction, &error)) {
        enum yj_status status = report(YJ_ERR_INTERNAL, "the emitted LLVM IR is not valid: %.400s", error);
        LLVMDisposeMessage(error);
        return status;
    }
    LLVMDisposeMessage(error);
    TRY(run_passes(e, machine));
    if (form == EMIT_IR) return print_module(e, data, bytes);
    LLVMMemoryBufferRef code = NULL;
    error = NULL;
    LLVMCodeGenFileType type = form == EMIT_ASSEMBLY ? LLVMAssemblyFile : LLVMObjectFile;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, e->module, type, &error, &code)) {
        enum yj_status status = report(YJ_ERR_UNSUPPORTED, "LLVM: %s", error);
        LLVMDisposeMessage(error);
        return status;
    }
    enum yj_status status = take(LLVMGetBufferStart(code), LLVMGetBufferSize(code), data, bytes);
    LLVMDisposeMemoryBuffer(code);
    return status;
}

static enum yj_status emit_with(struct emit *e, const struct build *build, LLVMTargetMachineRef machine,
                                enum emit_form form, char **data, size_t *bytes) {
    enum yj_status diagnosed = YJ_OK;
    LLVMContextSetDiagnosticHandler(e->context, on_diagnostic, &diagnosed);
    LLVMSetTarget(e->module, e->target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(e->module, layout);
    LLVMDisposeTargetData(layout);
    LLVMTypeRef i32 = ll_type_int(e, 32);
    add_flag(e, LLVMModuleFlagBehaviorError, "PIC Level", LLVMValueAsMetadata(LLVMConstInt(i32, 2, 0)));
    if (e->target->abi) {
        LLVMMetadataRef abi = LLVMMDStringInContext2(e->context, e->target->abi, strlen(e->target->abi));
        add_flag(e, LLVMModuleFlagBehaviorError, "target-abi", abi);
    }
    if (build->options->text) ll_debug_open(e, build->options->text);
    TRY(arena_guard(build_kernels, (void *)build));
    TRY(finish(e, machine, form, data, bytes));
    if (diagnosed == YJ_OK) return YJ_OK;
    free(*data);
    return diagnosed;
}

enum yj_status emit_check(const struct emit_options *options) {
    enum arch arch;
    int bits;
    const struct yj_target *t = options->target;
    if (strcmp(t->emitter, "llvm") != 0)
        return report(YJ_ERR_UNSUPPORTED,
                      "target %s is for the emitter %s: source text, which serves tests and is made by no command; "
                      "`yunjin targets` lists those that models are compiled for",
                      t->name, t->emitter);
    TRY(find_arch(t, &arch));
    return emit_vector_bits(options, &bits);
}

enum yj_status emit_llvm(const struct emit_options *options, const struct kernel *const *kernels, int n,
                         enum emit_form form, char **data, size_t *bytes) {
    struct emit e = {.target = options->target,
                     .scalar = options->scalar,
                     .own_alignment = options->own_alignment,
                     .hidden = options->hidden};
    struct build build = {options, kernels, n, &e};
    LLVMTargetMachineRef machine;
    TRY(emit_check(options));
    TRY(find_arch(e.target, &e.arch));
    TRY(emit_vector_bits(options, &e.vector_bits));
    find_memory_features(&e);
    TRY(machine_new(e.target, e.arch, e.vector_bits, &machine));
    e.arena = arena_open();
    if (!e.arena) {
        LLVMDisposeTargetMachine(machine);
        return report(YJ_ERR_MEMORY, "out of memory");
    }
    e.context = LLVMContextCreate();
    e.module = LLVMModuleCreateWithNameInContext("kernels", e.context);
    e.b = LLVMCreateBuilderInContext(e.context);
    char *made = NULL;
    size_t made_bytes = 0;
    enum yj_status status = emit_with(&e, &build, machine, form, &made, &made_bytes);
    ll_debug_close(&e);
    LLVMDisposeBuilder(e.b);
    LLVMDisposeModule(e.module);
    LLVMContextDispose(e.context);
    LLVMDisposeTargetMachine(machine);
    arena_close(e.arena);
    TRY(status);
    *data = made;
    *bytes = made_bytes;
    return YJ_OK;
}
