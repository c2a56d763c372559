/* SPDX-License-Identifier: Apache-2.0
 *
 * A model.yj that is not what was written: every changed byte of the small files, files cut short, missing, or swapped;
 * weights with another length or other bytes; a thousand random damages; writers that stop half way; a full disk.
 * Nothing is accepted that differs, nothing crashes, and nothing half-written looks whole.
 */
#include <yunjin/runtime.h>

#include "tests/runtime/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <cmocka.h>

static char folder[] = "/tmp/yunjin-damage-XXXXXX", so[64], model[64];

static int set_up(void **state) {
    if (!mkdtemp(folder) || !sample_compile(folder, sample_kernels, so, sizeof so)) {
        print_message("skipped: no C compiler (cc) for the kernels of this test\n");
        exit(77);
    }
    snprintf(model, sizeof model, "%s/m.yj", folder);
    if (sample_write(model, sample_plan, so) == YJ_OK) return 0;
    print_error("%s\n", yj_error_text());
    return -1;
}

static int tear_down(void **state) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static enum yj_status try_open(const char *path, uint32_t flags) {
    struct yj_model_options o = {.size = sizeof o, .threads = 1, .flags = flags};
    struct yj_model *m = NULL;
    enum yj_status status = yj_model_open(path, &o, &m);
    if (status == YJ_OK)
        yj_model_close(m);
    else
        assert_null(m);
    return status;
}

struct file {
    char path[256], *data;
    size_t n;
};

static void file_open(struct file *f, const char *name) {
    snprintf(f->path, sizeof f->path, "%s/%s", model, name);
    assert_int_equal(file_read(f->path, &f->data, &f->n), YJ_OK);
}

/* In place of the file: kernels of an open model are never written over, but none is open here. */
static void file_put(const struct file *f, const void *data, size_t n) {
    int fd = open(f->path, O_WRONLY | O_CREAT, 0666); /* not O_TRUNC: some file systems sync what follows it */
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, n), n);
    assert_int_equal(ftruncate(fd, (off_t)n), 0);
    close(fd);
}

static void file_close(struct file *f) {
    file_put(f, f->data, f->n);
    free(f->data);
    assert_int_equal(try_open(model, 0), YJ_OK);
}

static void flip_all(const char *name, size_t stride) {
    struct file f;
    file_open(&f, name);
    for (size_t i = 0; i < f.n; i += stride) {
        for (int bit = 0; bit<8; bit += stride> 1 ? 8 : 3) {
            f.data[i] ^= (char)(1 << bit);
            file_put(&f, f.data, f.n);
            enum yj_status status = try_open(model, 0);
            f.data[i] ^= (char)(1 << bit);
            if (status == YJ_OK) fail_msg("%s: byte %zu bit %d may be changed", name, i, bit);
            assert_true(*yj_error_text());
        }
    }
    file_close(&f);
}

static void test_manifest_bytes(void **state) {
    flip_all("manifest.json", 1);
}

static void test_plan_bytes(void **state) {
    flip_all("host.plan", 1);
}

static void test_kernel_bytes(void **state) {
    flip_all("host.so", 13);
}

static void test_cut_short(void **state) {
    static const char *const names[] = {"manifest.json", "host.plan", "host.so", "weights.safetensors"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct file f;
        file_open(&f, names[i]);
        for (size_t part = 0; part < 40; part++) {
            file_put(&f, f.data, f.n * part / 40);
            assert_int_not_equal(try_open(model, 0), YJ_OK);
        }
        file_put(&f, f.data, f.n - 1);
        assert_int_not_equal(try_open(model, 0), YJ_OK);
        char *longer = calloc(f.n + 1, 1);
        memcpy(longer, f.data, f.n);
        file_put(&f, longer, f.n + 1);
        assert_int_not_equal(try_open(model, 0), YJ_OK);
        free(longer);
        unlink(f.path);
        assert_int_not_equal(try_open(model, 0), YJ_OK);
        assert_non_null(strstr(yj_error_text(), names[i]));
        mkdir(f.path, 0777);
        assert_int_not_equal(try_open(model, 0), YJ_OK);
        rmdir(f.path);
        file_close(&f);
    }
}

/* Weights are data: what they hold is found only when asked for, and never does harm. */
static void test_weight_bytes(void **state) {
    struct file f;
    file_open(&f, "weights.safetensors");
    for (size_t i = 0; i < f.n; i += 17) {
        f.data[i] ^= 1;
        file_put(&f, f.data, f.n);
        assert_int_equal(try_open(model, 0), YJ_OK);
        assert_int_equal(try_open(model, YJ_OPEN_VERIFY), YJ_ERR_INPUT);
        assert_non_null(strstr(yj_error_text(), "weights.safetensors is damaged"));
        f.data[i] ^= 1;
    }
    file_close(&f);
}

static uint64_t seed;
static uint32_t next(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33);
}

/* The manifest's own hash would hide the parser behind it: so the damage is signed anew. */
static void sign(char *text, size_t n) {
    char *at = n > 80 ? text + n - 4 - MANIFEST_HASH_CHARS : NULL, hash[MANIFEST_HASH_CHARS + 1];
    extern void manifest_hash(const void *bytes, size_t n, char *hex);
    if (!at) return;
    memset(at, '0', MANIFEST_HASH_CHARS);
    manifest_hash(text, n, hash);
    memcpy(at, hash, MANIFEST_HASH_CHARS);
}

static void test_fuzz_manifest(void **state) {
    static const char alphabet[] = "0123456789{}[]\",:abn.-/\\ \n";
    struct file f;
    file_open(&f, "manifest.json");
    char *text = malloc(2 * f.n);
    int accepted = 0;
    for (uint64_t this = 1; this <= 1000; this ++) {
        seed = this;
        memcpy(text, f.data, f.n);
        size_t n = f.n, body = f.n - 90;
        for (uint32_t edits = 1 + next() % 3; edits; edits--) {
            size_t at = next() % body;
            if (next() % 2)
                text[at] = alphabet[next() % (sizeof alphabet - 1)];
            else
                memmove(text + at, text + at + 1, n - at - 1), n--, body--;
        }
        sign(text, n);
        file_put(&f, text, n);
        accepted += try_open(model, 0) == YJ_OK;
    }
    print_message("%d of 1000 damaged and newly signed manifests still open\n", accepted);
    free(text);
    file_close(&f);
}

/* Names in a signed manifest never lead out of the folder. */
static void test_paths(void **state) {
    static const char *const bad[] = {"../host.plan", "/etc/passwd", ".plan", "a/b.plan", "manifest.json"};
    struct file f;
    file_open(&f, "manifest.json");
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct text t = {0};
        for (char *at = f.data; at < f.data + f.n;) {
            if (strncmp(at, "host.plan", 9) == 0)
                text_add(&t, "%s", bad[i]), at += 9;
            else
                text_add(&t, "%c", *at++);
        }
        sign(t.data, t.n);
        file_put(&f, t.data, t.n);
        assert_int_equal(try_open(model, 0), YJ_ERR_INPUT);
        text_free(&t);
    }
    file_close(&f);
}

static void test_fuzz_weights(void **state) {
    struct file f;
    file_open(&f, "weights.safetensors");
    char *bytes = malloc(f.n);
    int accepted = 0;
    for (uint64_t this = 1; this <= 1000; this ++) {
        seed = this;
        memcpy(bytes, f.data, f.n);
        size_t n = next() % 4 ? f.n : next() % (f.n + 1);
        for (uint32_t edits = 1 + next() % 3; edits; edits--)
            bytes[next() % 400] = (char)(next() % 3 ? '0' + next() % 10 : next());
        struct arena *arena = arena_open();
        struct safetensors st = {0};
        if (safetensors_parse(bytes, n, "damaged", arena, &st) == YJ_OK) {
            accepted++;
            for (int i = 0; i < st.n; i++)
                assert_true(st.tensors[i].at >= 0 && st.tensors[i].at + st.tensors[i].bytes <= (int64_t)n);
        }
        arena_close(arena);
    }
    print_message("%d of 1000 damaged weight files have a header that is still right\n", accepted);
    free(bytes);
    file_close(&f);
}

static void test_weights_read(void **state) {
    char path[256];
    struct safetensors st;
    snprintf(path, sizeof path, "%s/weights.safetensors", model);
    assert_int_equal(safetensors_open(path, &st), YJ_OK);
    assert_int_equal(st.n, 3); /* the pads are left out */
    const struct safetensor *w = safetensors_find(&st, "w"), *odd = safetensors_find(&st, "odd");
    assert_non_null(w);
    assert_non_null(odd);
    assert_null(safetensors_find(&st, "pad.2"));
    for (int i = 0; i < st.n; i++)
        assert_int_equal(st.tensors[i].at % 64, 0);
    assert_true(((const float *)(st.base + w->at))[3] == 3.5f);
    assert_int_equal(st.base[odd->at + 9], 7);
    safetensors_close(&st);
}

static int entries(const char *path) {
    DIR *d = opendir(path);
    int n = 0;
    while (d && readdir(d))
        n++;
    if (d) closedir(d);
    return n - 2;
}

static void test_writing(void **state) {
    char again[128], place[128], file[256];
    struct model_writer *w;
    snprintf(again, sizeof again, "%s/again.yj", folder);
    assert_int_equal(sample_write(again, sample_plan, so), YJ_OK);
    static const char *const names[] = {"manifest.json", "host.plan", "host.so", "weights.safetensors"};
    for (size_t i = 0; i < COUNT(names); i++) { /* the same input gives the same bytes */
        char *a, *b, path[256];
        size_t n, m;
        snprintf(path, sizeof path, "%s/%s", again, names[i]);
        snprintf(file, sizeof file, "%s/%s", model, names[i]);
        assert_int_equal(file_read(path, &a, &n), YJ_OK);
        assert_int_equal(file_read(file, &b, &m), YJ_OK);
        assert_int_equal(n, m);
        assert_memory_equal(a, b, n);
        free(a), free(b);
    }
    int before = entries(folder);
    assert_int_equal(model_create(again, &w), YJ_OK); /* over a model: it stays until the new one is whole */
    assert_int_equal(model_add(w, "host.plan", "x", 1), YJ_OK);
    assert_int_not_equal(model_add(w, "host.plan", "x", 1), YJ_OK);
    assert_int_equal(model_add(w, "../x", "x", 1), YJ_ERR_INPUT);
    model_abandon(w);
    assert_int_equal(try_open(again, 0), YJ_OK);
    assert_int_equal(entries(folder), before);
    assert_int_equal(sample_write(again, sample_decoder, so), YJ_OK); /* replaced */
    assert_int_equal(entries(folder), before);
    assert_int_equal(try_open(again, 0), YJ_OK);
    snprintf(place, sizeof place, "%s/mine", folder);
    mkdir(place, 0777);
    snprintf(file, sizeof file, "%s/thesis.txt", place);
    assert_int_equal(file_write_atomic(file, "x", 1), YJ_OK);
    assert_int_equal(sample_write(place, sample_plan, so), YJ_ERR_INPUT); /* somebody's folder */
    assert_int_equal(sample_write(file, sample_plan, so), YJ_ERR_INPUT);
    assert_int_equal(sample_write("/proc/no/model.yj", sample_plan, so), YJ_ERR_IO);
    assert_int_equal(access(file, R_OK), 0);
}

static void test_full_disk(void **state) {
    char mount_point[128], path[160];
    snprintf(mount_point, sizeof mount_point, "%s/small", folder);
    mkdir(mount_point, 0777);
    if (mount("none", mount_point, "tmpfs", 0, "size=16k") != 0) {
        print_message("skipped: a small tmpfs cannot be mounted (%s)\n", strerror(errno));
        skip();
    }
    snprintf(path, sizeof path, "%s/m.yj", mount_point);
    enum yj_status status = sample_write(path, sample_plan, so);
    char said[512];
    snprintf(said, sizeof said, "%s", yj_error_text());
    int left = entries(mount_point);
    umount(mount_point);
    assert_int_equal(status, YJ_ERR_IO);
    assert_non_null(strstr(said, "the disk is full"));
    assert_int_equal(left, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_bytes), cmocka_unit_test(test_plan_bytes),
        cmocka_unit_test(test_kernel_bytes),   cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_weight_bytes),   cmocka_unit_test(test_fuzz_manifest),
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_fuzz_weights),
        cmocka_unit_test(test_weights_read),   cmocka_unit_test(test_writing),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
