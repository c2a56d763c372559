/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines for debuggers and profilers: each instruction says which statement of the kernel's text it comes from. The one
 * idea: an object does not know where in the text of its program the kernel will stand (the cache keeps it for many
 * programs), so lines begin at LINES_BASE, and lines.c moves them when the place is known. Line tables only: there are
 * no variables to describe, and the symbols name the functions.
 */
#include "compiler/emit_llvm.h"
#include "compiler/lines.h"

#include <llvm-c/DebugInfo.h>

static void add_flag(struct emit *e, const char *name, unsigned value) {
    LLVMMetadataRef number = LLVMValueAsMetadata(LLVMConstInt(ll_type_int(e, 32), value, 0));
    LLVMAddModuleFlag(e->module, LLVMModuleFlagBehaviorWarning, name, strlen(name), number);
}

/* The folder is "." whatever the machine: the text stands beside the code. */
void ll_debug_open(struct emit *e, const char *file) {
    static const char producer[] = "yunjin " YJ_VERSION;
    add_flag(e, "Debug Info Version", LLVMDebugMetadataVersion());
    add_flag(e, "Dwarf Version", 4); /* smaller than 5 for many small objects */
    e->debug = LLVMCreateDIBuilder(e->module);
    e->file = LLVMDIBuilderCreateFile(e->debug, file, strlen(file), ".", 1);
    LLVMDIBuilderCreateCompileUnit(e->debug, LLVMDWARFSourceLanguageC99, e->file, producer, sizeof producer - 1, 1, "",
                                   0, 0, "", 0, LLVMDWARFEmissionLineTablesOnly, 0, 0, 0, "", 0, "", 0);
    e->first_line = LINES_BASE;
}

void ll_debug_close(struct emit *e) {
    if (!e->debug) return;
    LLVMDIBuilderFinalize(e->debug);
    LLVMDisposeDIBuilder(e->debug);
    e->debug = NULL;
}

void ll_debug_function(struct emit *e, LLVMValueRef f) {
    if (!e->debug) return;
    size_t n;
    const char *name = LLVMGetValueName2(f, &n);
    LLVMMetadataRef type = LLVMDIBuilderCreateSubroutineType(e->debug, e->file, NULL, 0, LLVMDIFlagZero);
    unsigned line = (unsigned)e->first_line + 1;
    e->debug_scope = LLVMDIBuilderCreateFunction(e->debug, e->file, name, n, "", 0, e->file, line, type, 1, 1, line,
                                                 LLVMDIFlagZero, 1);
    LLVMSetSubprogram(f, e->debug_scope);
    ll_debug_line(e, 1);
}

LLVMMetadataRef ll_debug_line(struct emit *e, int line) {
    LLVMMetadataRef before = e->debug ? LLVMGetCurrentDebugLocation2(e->b) : NULL;
    if (e->debug && line)
        ll_debug_restore(
            e, LLVMDIBuilderCreateDebugLocation(e->context, (unsigned)(e->first_line + line), 0, e->debug_scope, NULL));
    return before;
}

void ll_debug_restore(struct emit *e, LLVMMetadataRef location) {
    if (e->debug) LLVMSetCurrentDebugLocation2(e->b, location);
}
