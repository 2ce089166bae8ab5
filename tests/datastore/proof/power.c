/*
 * Writes down what a process does to the files of one folder, so that a power cut can be played at
 * any point of it: LD_PRELOAD it with KPY_POWER_FOLDER and KPY_POWER_JOURNAL set.
 *
 * Every open, write, truncation, sync and removal is carried out and then appended to the journal,
 * in the order in which the process was told of its success. KPY_POWER_FAULTS names a file of four
 * numbers that a test may change while the process runs: milliseconds that a sync takes, the error
 * of writes, the error of syncs, and after how many more of either the errors begin.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPENED = 1, WRITTEN, TRUNCATED, SYNCED, REMOVED };
enum { FILES_MAX = 4096 };

struct record { uint32_t kind, name_length; uint64_t offset, length; };
struct faults { int32_t sync_milliseconds, write_error, sync_error, calls_left; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *names[FILES_MAX];
static char folder[PATH_MAX];
static size_t folder_length;
static int journal = -1;
static struct faults no_faults, *faults = &no_faults;

__attribute__((constructor)) static void begin(void) {
    const char *watched = getenv("KPY_POWER_FOLDER"), *path = getenv("KPY_POWER_JOURNAL");
    const char *control = getenv("KPY_POWER_FAULTS");
    if (!watched || !path) return;
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    folder_length = snprintf(folder, sizeof folder, "%s/", watched);
    if (control) {
        int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC);
        void *shared = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (shared == MAP_FAILED) abort();
        faults = shared;
        syscall(SYS_close, fd);
    }
}

static const char *name_of(int fd) {
    return journal >= 0 && fd >= 0 && fd < FILES_MAX ? names[fd] : NULL;
}

static void note(uint32_t kind, const char *name, uint64_t offset, const void *data, uint64_t length) {
    struct record record = {kind, strlen(name), offset, length};
    struct iovec parts[] = {
        {&record, sizeof record}, {(void *)name, record.name_length}, {(void *)data, data ? length : 0}};
    int kept = errno;
    if (syscall(SYS_writev, journal, parts, 3) < 0) abort();
    errno = kept;
}

/* Returns the error that this call is to have. */
static int fault(int error) {
    if (!error) return 0;
    if (__atomic_load_n(&faults->calls_left, __ATOMIC_SEQ_CST) > 0) {
        __atomic_fetch_sub(&faults->calls_left, 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    return error;
}

static int opened(int fd, const char *path, int flags) {
    if (fd < 0 || fd >= FILES_MAX || journal < 0) return fd;
    pthread_mutex_lock(&lock);
    free(names[fd]);
    names[fd] = NULL;
    if (strncmp(path, folder, folder_length) == 0 && (flags & O_ACCMODE) != O_RDONLY) {
        names[fd] = strdup(path + folder_length);
        note(OPENED, names[fd], 0, NULL, 0);
        if (flags & O_TRUNC) note(TRUNCATED, names[fd], 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(NAME)                                                        \
    int NAME(const char *path, int flags, ...) {                          \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        int mode = flags & O_CREAT ? va_arg(more, int) : 0;               \
        va_end(more);                                                     \
        int fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);        \
        return opened(fd, path, flags);                                   \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FILES_MAX) {
        free(names[fd]);
        names[fd] = NULL;
    }
    pthread_mutex_unlock(&lock);
    return syscall(SYS_close, fd);
}

static ssize_t written(int fd, const void *data, size_t count, off64_t offset) {
    const char *name = name_of(fd);
    int error = name ? fault(faults->write_error) : 0;
    if (error) {
        errno = error;
        return -1;
    }
    if (name) pthread_mutex_lock(&lock);
    if (name && offset < 0) offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t done = !name ? -1 : syscall(SYS_pwrite64, fd, data, count, offset);
    if (name && done > 0) note(WRITTEN, name, offset, data, done);
    if (name) pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t count, off64_t offset) {
    if (!name_of(fd)) return syscall(SYS_pwrite64, fd, data, count, offset);
    return written(fd, data, count, offset);
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t offset) {
    return pwrite64(fd, data, count, offset);
}

ssize_t write(int fd, const void *data, size_t count) {
    if (!name_of(fd)) return syscall(SYS_write, fd, data, count);
    ssize_t done = written(fd, data, count, -1);
    if (done > 0) syscall(SYS_lseek, fd, done, SEEK_CUR);
    return done;
}

int ftruncate64(int fd, off64_t length) {
    int done = syscall(SYS_ftruncate, fd, length);
    if (done == 0 && name_of(fd)) note(TRUNCATED, name_of(fd), length, NULL, 0);
    return done;
}

int ftruncate(int fd, off_t length) {
    return ftruncate64(fd, length);
}

static int synced(int fd, long call) {
    const char *name = name_of(fd);
    if (name) {
        struct timespec slow = {faults->sync_milliseconds / 1000,
                                faults->sync_milliseconds % 1000 * 1000000L};
        if (faults->sync_milliseconds) nanosleep(&slow, NULL);
        errno = fault(faults->sync_error);
        if (errno) return -1;
    }
    /* The journal is what makes it durable in a test: waiting for the disk would add nothing. */
    if (!name) return syscall(call, fd);
    note(SYNCED, name, 0, NULL, 0);
    return 0;
}

int fsync(int fd) {
    return synced(fd, SYS_fsync);
}

int fdatasync(int fd) {
    return synced(fd, SYS_fdatasync);
}

int unlink(const char *path) {
    int done = syscall(SYS_unlink, path);
    if (done == 0 && journal >= 0 && strncmp(path, folder, folder_length) == 0)
        note(REMOVED, path + folder_length, 0, NULL, 0);
    return done;
}
