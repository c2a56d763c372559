/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads pictures of one line of text with PaddleOCR's recogniser compiled by Yunjin: a program on <yunjin/runtime.h>
 * alone. A picture is scaled to 48 rows; the model gives, for every 8 columns, how likely each character is; the best
 * of each step, repeats and blanks dropped (CTC), is the text.
 *
 * usage:
 *   ocr [--save FOLDER] MODEL.yj CHARACTERS.txt PICTURE...
 *       prints one line a picture: the text, its certainty, the time; FOLDER gets what each became, as PICTURE.npy
 *   ocr --logits OUTPUT.npy CHARACTERS.txt
 *       prints the text of an output computed before
 */
#include <yunjin/runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_ONLY_PNM
#include <stb/stb_image.h>

enum { ROWS = 48, MOST_COLUMNS = 4096 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* The lines of a file: class 0 is CTC's blank, class i + 1 is line i, the last class is a space. */
struct characters {
    char *text, **line;
    int n;
};

static int read_characters(const char *path, struct characters *c) {
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END)) return 0;
    long bytes = ftell(f);
    rewind(f);
    c->text = calloc(1, (size_t)bytes + 1);
    c->line = calloc((size_t)bytes + 1, sizeof *c->line);
    int ok = c->text && c->line && fread(c->text, 1, (size_t)bytes, f) == (size_t)bytes;
    fclose(f);
    for (char *p = c->text; ok && *p;) {
        c->line[c->n++] = p;
        p += strcspn(p, "\n");
        if (*p) *p++ = 0;
    }
    return ok;
}

/* Bilinear scaling to 48 rows; channels blue, green, red as the model was trained; values -1..1. */
static float *prepare(const char *path, int64_t *columns) {
    int w, h, n;
    unsigned char *pixels = stbi_load(path, &w, &h, &n, 3);
    if (!pixels) return NULL;
    int64_t wide = ((int64_t)w * ROWS + h / 2) / h;
    wide = wide < 16 ? 16 : wide > MOST_COLUMNS ? MOST_COLUMNS : wide;
    float *out = aligned_alloc(64, ((size_t)(3 * ROWS * wide) * sizeof(float) + 63) / 64 * 64);
    for (int64_t y = 0; out && y < ROWS; y++)
        for (int64_t x = 0; x < wide; x++) {
            float sy = ((float)y + 0.5f) * (float)h / ROWS - 0.5f,
                  sx = ((float)x + 0.5f) * (float)w / (float)wide - 0.5f;
            sy = sy < 0 ? 0 : sy;
            sx = sx < 0 ? 0 : sx;
            int y0 = (int)sy, x0 = (int)sx, y1 = y0 + 1 < h ? y0 + 1 : h - 1, x1 = x0 + 1 < w ? x0 + 1 : w - 1;
            float fy = sy - (float)y0, fx = sx - (float)x0;
            for (int c = 0; c < 3; c++) {
                const unsigned char *p = pixels + 2 - c;
                float top = (float)p[3 * (y0 * w + x0)] * (1 - fx) + (float)p[3 * (y0 * w + x1)] * fx;
                float low = (float)p[3 * (y1 * w + x0)] * (1 - fx) + (float)p[3 * (y1 * w + x1)] * fx;
                out[(c * ROWS + y) * wide + x] = ((top * (1 - fy) + low * fy) / 255 - 0.5f) / 0.5f;
            }
        }
    stbi_image_free(pixels);
    *columns = wide;
    return out;
}

static double print_text(const struct yj_tensor *y, const struct characters *c) {
    const float *p = y->data;
    int64_t steps = y->shape[1], classes = y->shape[2], last = 0;
    double sum = 0;
    int n = 0;
    for (int64_t t = 0; t < steps; t++, p += classes) {
        int64_t best = 0;
        for (int64_t k = 1; k < classes; k++)
            if (p[k] > p[best]) best = k;
        if (best != last && best != 0) {
            fputs(best <= c->n ? c->line[best - 1] : " ", stdout);
            sum += p[best];
            n++;
        }
        last = best;
    }
    return n ? sum / n : 0;
}

static int failed(const char *what) {
    fprintf(stderr, "ocr: %s: %s\n", what, yj_error_text());
    return 1;
}

/* FOLDER/NAME.npy for the picture .../NAME.png */
static int save(const char *folder, const char *picture, const struct yj_tensor *x) {
    char path[4096];
    const char *name = strrchr(picture, '/') ? strrchr(picture, '/') + 1 : picture, *dot = strrchr(name, '.');
    mkdir(folder, 0777); /* it may be there; if it cannot be made, writing says so */
    snprintf(path, sizeof path, "%s/%.*s.npy", folder, (int)(dot ? dot - name : (long)strlen(name)), name);
    return yj_tensor_write(path, x, NULL) ? failed(path) : 0;
}

static int fits(const struct yj_tensor *y, const struct characters *c) {
    if (y->rank == 3 && y->dtype == YJ_F32 && y->shape[0] == 1 && y->shape[2] == c->n + 2) return 1;
    fprintf(stderr,
            "ocr: %d characters need an output of %d classes, one picture at a time; this one has rank %d and %lld "
            "classes\n",
            c->n, c->n + 2, y->rank, y->rank == 3 ? (long long)y->shape[2] : 0);
    return 0;
}

static int read_output(const struct characters *c, const char *path) {
    struct yj_tensor y = {.size = sizeof y};
    if (yj_tensor_read(path, &y, NULL, 0)) return failed(path);
    int bad = !fits(&y, c);
    if (!bad) print_text(&y, c);
    if (!bad) printf("\n");
    yj_tensor_free(&y);
    return bad;
}

static int read_picture(struct yj_model *m, const struct characters *c, const char *path, const char *folder) {
    int64_t columns;
    float *pixels = prepare(path, &columns);
    if (!pixels) {
        fprintf(stderr, "ocr: %s: cannot read this picture (PNG, JPEG, BMP and PNM are read)\n", path);
        return 1;
    }
    struct yj_tensor x = {sizeof x, YJ_F32, 4, {1, 3, ROWS, columns}, pixels}, y = {.size = sizeof y};
    int unsaved = folder ? save(folder, path, &x) : 0;
    double start = now();
    int bad = yj_model_bind(m, 0, &x) || yj_model_run(m) || yj_model_output(m, 0, &y);
    double took = now() - start;
    if (bad)
        failed(path);
    else if (!fits(&y, c))
        bad = 1;
    else {
        printf("%s: ", path);
        double certainty = print_text(&y, c);
        printf("   (%.0f %%, %.1f ms)\n", 100 * certainty, 1e3 * took);
    }
    free(pixels);
    return bad || unsaved;
}

int main(int argc, char **argv) {
    struct characters c = {0};
    struct yj_model *m;
    int bad = 0, output = argc == 4 && strcmp(argv[1], "--logits") == 0,
        saves = argc > 2 && strcmp(argv[1], "--save") == 0;
    char **word = argv + 1 + output + 2 * saves;
    if (!output && argc < 4 + 2 * saves) {
        fprintf(stderr, "usage: ocr [--save FOLDER] MODEL.yj CHARACTERS.txt PICTURE...\n       ocr --logits OUTPUT.npy "
                        "CHARACTERS.txt\n");
        return 2;
    }
    if (!read_characters(word[1], &c)) {
        fprintf(stderr, "ocr: cannot read %s\n", word[1]);
        return 1;
    }
    if (output)
        bad = read_output(&c, word[0]);
    else if (yj_model_open(word[0], NULL, &m))
        bad = failed(word[0]);
    else {
        for (char **picture = word + 2; *picture; picture++)
            bad |= read_picture(m, &c, *picture, saves ? argv[2] : NULL);
        yj_model_close(m);
    }
    free(c.line);
    free(c.text);
    return bad;
}
