/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole files. A file is written beside its place, synced, and renamed over it: a reader sees the old bytes or the new
 * ones, never half; on any failure the old file stays and nothing is left behind.
 */
#include "runtime/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a person can do about ERROR, in words. */
static enum yj_status io_error(const char *doing, const char *path, int error) {
    const char *advice = NULL;
    switch (error) {
    case ENOSPC:
        advice = "the disk is full; free some space or choose another folder";
        break;
    case EDQUOT:
        advice = "the disk quota is used up; free some space or choose another folder";
        break;
    case EACCES:
    case EPERM:
        advice = "permission denied; check the owner and the mode of the file and of its folder";
        break;
    case EROFS:
        advice = "the file system is read-only; choose another folder";
        break;
    case ENOENT:
        advice = "no such file or folder";
        break;
    case ENOTDIR:
        advice = "a part of the path is a file, not a folder";
        break;
    case EISDIR:
        advice = "it is a folder, not a file";
        break;
    case EFBIG:
        advice = "the file is larger than the file system or the limit of this process allows";
        break;
    case ENAMETOOLONG:
        advice = "the name is too long";
        break;
    case ENOMEM:
        return report(YJ_ERR_MEMORY, "cannot %s %s: out of memory", doing, path);
    default:
        break;
    }
    char words[128];
    return report(YJ_ERR_IO, "cannot %s %s: %s", doing, path, advice ? advice : strerror_r(error, words, sizeof words));
}

/* Reads FD to its end; 0 or an errno. SIZE is a guess, since a pipe has none and a file may grow. */
static int read_all(int fd, size_t size, char **data, size_t *bytes) {
    size_t room = size + 1, n = 0;
    char *buffer = malloc(room);
    if (!buffer) return ENOMEM;
    for (;;) {
        if (n + 1 >= room) { /* the last byte is for the terminator: one more read proves the end */
            char *grown = room > SIZE_MAX / 2 ? NULL : realloc(buffer, room < 4096 ? 8192 : 2 * room);
            if (!grown) {
                free(buffer);
                return ENOMEM;
            }
            room = room < 4096 ? 8192 : 2 * room;
            buffer = grown;
        }
        ssize_t got = read(fd, buffer + n, room - n - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            int error = errno;
            free(buffer);
            return error;
        }
        if (got == 0) break;
        n += (size_t)got;
    }
    buffer[n] = 0;
    *data = buffer;
    *bytes = n;
    return 0;
}

enum yj_status file_read(const char *path, char **data, size_t *bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return io_error("read", path, errno);
    struct stat st;
    int error = fstat(fd, &st) < 0 ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    if (!error) {
        bool sized = S_ISREG(st.st_mode) && st.st_size > 0;
        if (sized && (uint64_t)st.st_size > SIZE_MAX / 4)
            error = EFBIG;
        else
            error = read_all(fd, sized ? (size_t)st.st_size + 1 : 4095, data, bytes);
    }
    close(fd);
    return error ? io_error("read", path, error) : YJ_OK;
}

static int write_all(int fd, const char *data, size_t bytes) {
    while (bytes > 0) {
        ssize_t put = write(fd, data, bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return errno;
        data += put;
        bytes -= (size_t)put;
    }
    return fsync(fd) < 0 ? errno : 0;
}

/* Makes a new file beside PATH; its name goes to TEMPORARY. */
static int open_beside(const char *path, char *temporary, size_t room) {
    for (unsigned try = 0; try < 1000; try++) {
        if (snprintf(temporary, room, "%s.tmp%ld.%u", path, (long)getpid(), try) >= (int)room) {
            errno = ENAMETOOLONG;
            return -1;
        }
        int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* The new name must be on the disk too; a file system that cannot sync a folder is left alone. */
static void sync_folder(const char *path) {
    char folder[4096];
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(folder, sizeof folder, ".");
    else
        snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

enum yj_status file_write_atomic(const char *path, const void *data, size_t bytes) {
    char temporary[4096];
    int fd = open_beside(path, temporary, sizeof temporary);
    if (fd < 0) return io_error("write", path, errno);
    int error = write_all(fd, data, bytes);
    if (close(fd) < 0 && !error) error = errno;
    if (!error && rename(temporary, path) < 0) error = errno;
    if (error) {
        unlink(temporary);
        return io_error("write", path, error);
    }
    sync_folder(path);
    return YJ_OK;
}
