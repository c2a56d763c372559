/* SPDX-License-Identifier: Apache-2.0
 *
 * The OpenCL C emitter on whatever OpenCL device is here (PoCL will do): every kernel of tests/ir/kernels that has no
 * scratch of symbolic size, with every set of dims; the bits must be those of kernel_eval. The OpenCL library is opened
 * at run time: without one, or without a device, the test says so and is skipped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "compiler/emit_source.h"
#include "tests/ir/kernel_cases.h"

#include <dlfcn.h>

#if __has_include(<CL/cl.h>)
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#define OPENCL_FUNCTIONS(F)                                                                                            \
    F(clGetPlatformIDs)                                                                                                \
    F(clGetDeviceIDs)                                                                                                  \
    F(clCreateContext)                                                                                                 \
    F(clCreateCommandQueue)                                                                                            \
    F(clCreateProgramWithSource)                                                                                       \
    F(clBuildProgram)                                                                                                  \
    F(clGetProgramBuildInfo)                                                                                           \
    F(clCreateKernel)                                                                                                  \
    F(clSetKernelArg)                                                                                                  \
    F(clCreateBuffer)                                                                                                  \
    F(clEnqueueNDRangeKernel)                                                                                          \
    F(clEnqueueReadBuffer)                                                                                             \
    F(clEnqueueWriteBuffer)                                                                                            \
    F(clFinish)                                                                                                        \
    F(clReleaseMemObject)                                                                                              \
    F(clReleaseKernel) F(clReleaseProgram) F(clReleaseCommandQueue) F(clReleaseContext) F(clGetDeviceInfo)
#define FIELD(name) __typeof__(&name) name;
static struct { OPENCL_FUNCTIONS(FIELD) } cl;

static cl_device_id device;
static cl_context context;
static cl_command_queue queue;

/* NULL, or why there is nothing to run on. */
static const char *open_device(void) {
    cl_platform_id platforms[8];
    cl_uint n = 0;
    void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) return "there is no libOpenCL.so.1";
#define LOOK_UP(name)                                                                                                  \
    if (!(cl.name = (__typeof__(cl.name))dlsym(library, #name))) return "libOpenCL.so.1 lacks " #name;
    OPENCL_FUNCTIONS(LOOK_UP)
    if (cl.clGetPlatformIDs(8, platforms, &n) != CL_SUCCESS || n == 0) return "there is no OpenCL platform";
    for (cl_uint i = 0; i < n && !device; i++)
        if (cl.clGetDeviceIDs(platforms[i], CL_DEVICE_TYPE_ALL, 1, &device, NULL) != CL_SUCCESS) device = NULL;
    if (!device) return "there is no OpenCL device";
    cl_device_fp_config config = 0;
    cl.clGetDeviceInfo(device, CL_DEVICE_SINGLE_FP_CONFIG, sizeof config, &config, NULL);
    if (!(config & CL_FP_DENORM)) return "the OpenCL device flushes denormals";
    context = cl.clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
    queue = context ? cl.clCreateCommandQueue(context, device, 0, NULL) : NULL;
    return queue ? NULL : "the OpenCL device gives no queue";
}

static cl_program build(const char *source) {
    cl_program program = cl.clCreateProgramWithSource(context, 1, &source, NULL, NULL);
    if (cl.clBuildProgram(program, 1, &device, emit_source_options(SOURCE_OPENCL), NULL, NULL) == CL_SUCCESS)
        return program;
    static char log[20000];
    cl.clGetProgramBuildInfo(program, device, CL_PROGRAM_BUILD_LOG, sizeof log - 1, log, NULL);
    fail_msg("%s", log);
    return NULL;
}

static size_t padded_bytes(const struct launch *l, const struct buffer *b) {
    return (((size_t)l->n[b->index] * yj_dtype_bytes(b->dtype) + 63) & ~(size_t)63) + 64;
}

static void launch_on_device(struct launch *l, cl_kernel kernel) {
    cl_mem memory[18];
    cl_uint at = 0;
    cl_long first = 0;
    size_t lanes = (size_t)emit_source_lanes(l->k), total = (size_t)l->tiles * lanes;
    for (const struct buffer *b = l->k->args; b; b = b->next, at++) {
        memory[at] = cl.clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, padded_bytes(l, b),
                                       l->buffer[b->index], NULL);
        assert_int_equal(cl.clSetKernelArg(kernel, at, sizeof memory[at], &memory[at]), CL_SUCCESS);
    }
    memory[at] = cl.clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, sizeof l->fault, &l->fault, NULL);
    for (int i = 0; i < l->k->n_dims; i++)
        assert_int_equal(cl.clSetKernelArg(kernel, at + (cl_uint)i, 8, &l->scalar[i]), CL_SUCCESS);
    cl_uint rest = at + (cl_uint)l->k->n_dims;
    size_t scratch = (size_t)case_number(l, kernel_scratch_bytes(l->k)) * (size_t)l->tiles;
    memory[at + 1] = cl.clCreateBuffer(context, CL_MEM_READ_WRITE, scratch + 64, NULL, NULL);
    assert_int_equal(cl.clSetKernelArg(kernel, rest, 8, &first), CL_SUCCESS);
    assert_int_equal(cl.clSetKernelArg(kernel, rest + 1, sizeof memory[at + 1], &memory[at + 1]), CL_SUCCESS);
    assert_int_equal(cl.clSetKernelArg(kernel, rest + 2, sizeof memory[at], &memory[at]), CL_SUCCESS);
    assert_int_equal(cl.clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &total, &lanes, 0, NULL, NULL), CL_SUCCESS);
    at = 0;
    for (const struct buffer *b = l->k->args; b; b = b->next, at++)
        cl.clEnqueueReadBuffer(queue, memory[at], CL_TRUE, 0, padded_bytes(l, b), l->buffer[b->index], 0, NULL, NULL);
    cl.clEnqueueReadBuffer(queue, memory[at], CL_TRUE, 0, sizeof l->fault, &l->fault, 0, NULL, NULL);
    for (cl_uint i = 0; i <= at + 1; i++)
        cl.clReleaseMemObject(memory[i]);
}

static void compare(struct kernel *k, const struct kernel_case *c, cl_kernel kernel, bool bad_index) {
    for (int d = 0; d < 4; d++) {
        struct launch a, b;
        char where[200];
        launch_open(&a, c, k, d, 23);
        launch_open(&b, c, k, d, 23);
        if (bad_index) ((int64_t *)a.buffer[0])[0] = ((int64_t *)b.buffer[0])[0] = -9;
        if (kernel_eval(k, a.buffer, a.scalar, 0, a.tiles, 0, &a.fault) != YJ_OK) fail_msg("%s", yj_error_text());
        launch_on_device(&b, kernel);
        if (launch_differs(&a, &b, where, sizeof where)) fail_msg("%s, dims %d: %s", c->name, d, where);
        assert_int_equal(b.fault.code, bad_index ? YJ_FAULT_INDEX : 0);
        assert_int_equal(b.fault.value, bad_index ? -9 : 0);
        launch_close(&a);
        launch_close(&b);
    }
}

static void test_kernels(void **state) {
    struct arena *arena = arena_open();
    struct text source = {0};
    const struct kernel *kernels[COUNT(kernel_cases)];
    const struct kernel_case *cases[COUNT(kernel_cases)];
    int n = 0;
    for (size_t i = 0; i < COUNT(kernel_cases); i++) {
        const char *name = kernel_cases[i].name;
        struct kernel *k = NULL;
        char *text = case_text(name);
        if (kernel_parse(arena, text, name, &k) != YJ_OK) fail_msg("%s", yj_error_text());
        free(text);
        cases[n] = &kernel_cases[i];
        kernels[n++] = k;
    }
    if (emit_source(kernels, n, SOURCE_OPENCL, &source) != YJ_OK) fail_msg("%s", yj_error_text());
    cl_program program = build(source.data);
    for (int i = 0; i < n; i++) {
        cl_int status;
        cl_kernel kernel = cl.clCreateKernel(program, kernels[i]->name, &status);
        assert_int_equal(status, CL_SUCCESS);
        compare((struct kernel *)kernels[i], cases[i], kernel, false);
        if (cases[i]->index_dim >= 0) compare((struct kernel *)kernels[i], cases[i], kernel, true);
        cl.clReleaseKernel(kernel);
    }
    cl.clReleaseProgram(program);
    text_free(&source);
    arena_close(arena);
}

int main(void) {
    const char *nothing = open_device();
    if (nothing) {
        printf("skipped: %s\n", nothing);
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void) {
    printf("skipped: built without <CL/cl.h>\n");
    return 77;
}
#endif
