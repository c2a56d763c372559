/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds libyunjin-compiler: beside the program (the build folder), in ../lib of it (an installation), or where the
 * dynamic linker looks. dlopen gives the same handle each time, so nothing is kept here.
 */
#include "runtime/command/compiler_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#define LIBRARY "libyunjin-compiler.so.0"

static void *open_beside(const char *folder, const char *rest) {
    char path[4400];
    snprintf(path, sizeof path, "%s/%s%s", folder, rest, LIBRARY);
    return access(path, R_OK) == 0 ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

enum yj_status compiler_function(const char *name, void *function) {
    char folder[4096];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[n > 0 ? n : 0] = 0;
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    void *library = open_beside(folder, "");
    if (!library) library = open_beside(folder, "../lib/");
    if (!library) library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library) return report(YJ_ERR_UNSUPPORTED, "the compiler library cannot be opened: %s", dlerror());
    void *found = dlsym(library, name);
    if (!found) return report(YJ_ERR_UNSUPPORTED, "%s has no %s: it is of another version", LIBRARY, name);
    memcpy(function, &found, sizeof found);
    return YJ_OK;
}
