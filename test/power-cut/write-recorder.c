/* Preloaded into the broker on Linux: notes what a power cut would take. Before a write to a recorded file it appends to the
 * record what was there, so that the write can be undone; after a sync it says which writes are on the disk. A sync only waits:
 * the disk is not what is tested. Knows no LMDB.
 *
 *   RECORDER_RECORD        path of the record
 *   RECORDER_FILES     files whose path ends with this are recorded
 *   RECORDER_SYNC_US       how long a sync takes, in microseconds
 *   RECORDER_LIES     when set, a sync says that it is done and nothing is on the disk
 *   RECORDER_FAULT     a file that says, while it is there, what fails with EIO. Words in it:
 *       write     each write to a regular file, of which nothing arrives
 *       flush     each fsync and fdatasync. What it should have put on the disk stays in memory, where it can be read, and is
 *                 not written any more: the next one succeeds without it, as on Linux
 *       through   the same for each write through a descriptor that syncs it
 *       once      the file is removed with the first failure
 *       unseen    nothing is said of the failure: what a program does that takes no notice
 *
 *   RECORDER_ENTRIES   path of the record of directories, of which a line is
 *       made PATH     a file or directory that was not there before
 *       moved PATH    a file that got this name, which nothing had before; the line after it is the old name
 *       synced PATH   what was made and moved in this directory so far is on the disk
 *   RECORDER_FOLDER    where directories are recorded: all that is below it
 *
 * The record: entries of eight numbers of 8 bytes in the order of the machine. The first is the kind:
 *   1 write       sequence, device, inode, offset, length, size of the file before, bytes that were there; those bytes follow
 *   2 sync        sequence: writes of the file up to it are on the disk; device, inode, 0, 0, 0, 0
 *   3 synced      sequence: this one write is on the disk; device, inode, 0, 0, 0, 0
 *   4 forgotten   sequence: writes of the file up to it that are not on the disk will not be put there; device, inode, 0, 0, 0, 0
 *   5 forgotten   sequence: this one write; device, inode, 0, 0, 0, 0 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { entry_write = 1, entry_sync = 2, entry_synced = 3, entry_forgotten = 4, entry_one_forgotten = 5 };
enum { fault_write = 1, fault_flush = 2, fault_through = 4, fault_unseen = 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_rename)(const char *, const char *);
static int record = -1;
static int entries = -1;
static const char *folder;
static const char *suffix;
static const char *fault_path;
static int lies;
static useconds_t sync_us;
static int64_t sequence;

static void prepare(void) {
  real_write = dlsym(RTLD_NEXT, "write");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_open = dlsym(RTLD_NEXT, "open64");
  real_mkdir = dlsym(RTLD_NEXT, "mkdir");
  real_rename = dlsym(RTLD_NEXT, "rename");
  const char *path = getenv("RECORDER_RECORD");
  const char *entries_path = getenv("RECORDER_ENTRIES");
  const char *us = getenv("RECORDER_SYNC_US");
  suffix = getenv("RECORDER_FILES");
  fault_path = getenv("RECORDER_FAULT");
  lies = getenv("RECORDER_LIES") != NULL;
  sync_us = us == NULL ? 0 : (useconds_t)atol(us);
  folder = getenv("RECORDER_FOLDER");
  if (path != NULL && suffix != NULL) record = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (entries_path != NULL && folder != NULL) {
    entries = real_open(entries_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  }
}

/* A record with a gap would prove what is not so. */
static void fail(const char *what) {
  perror(what);
  abort();
}

/* Sockets and pipes, which most descriptors are, end at the first question. */
static int is_recorded(int fd, struct stat *status) {
  char link[64], path[4096];
  pthread_once(&once, prepare);
  if (record == -1 || fstat(fd, status) != 0 || !S_ISREG(status->st_mode)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path);
  ssize_t wanted = (ssize_t)strlen(suffix);
  return length >= wanted && memcmp(path + length - wanted, suffix, (size_t)wanted) == 0;
}

static void append(const void *bytes, size_t length) {
  if (length > 0 && real_write(record, bytes, length) != (ssize_t)length) fail("write-recorder: the record");
}

static void note(int64_t kind, int64_t number, const struct stat *status, int64_t offset, int64_t length, int64_t there) {
  int64_t size = kind == entry_write ? status->st_size : 0;
  int64_t entry[8] = {kind, number, (int64_t)status->st_dev, (int64_t)status->st_ino, offset, length, size, there};
  append(entry, sizeof entry);
}

/* Called with the lock, before the write. Returns its sequence. */
static int64_t note_write(int fd, const struct stat *status, off_t offset, size_t length) {
  char *before = malloc(length);
  ssize_t there = 0;
  if (before == NULL) fail("write-recorder: memory");
  if (offset < status->st_size) {
    char link[64];
    /* The descriptor itself may be for writing only. */
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int readable = open(link, O_RDONLY | O_CLOEXEC);
    if (readable == -1 || (there = pread(readable, before, length, offset)) < 0) fail("write-recorder: what was there");
    close(readable);
  }
  note(entry_write, ++sequence, status, offset, (int64_t)length, there);
  append(before, (size_t)there);
  free(before);
  return sequence;
}

/* Which of these kinds fails now. */
static int fault(int kinds) {
  char text[64];
  int file = fault_path == NULL ? -1 : open(fault_path, O_RDONLY | O_CLOEXEC);
  if (file == -1) return 0;
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  text[length < 0 ? 0 : length] = 0;
  int found = 0;
  if (strstr(text, "write") != NULL) found |= fault_write;
  if (strstr(text, "flush") != NULL) found |= fault_flush;
  if (strstr(text, "through") != NULL) found |= fault_through;
  if ((found & kinds) == 0) return 0;
  if (strstr(text, "once") != NULL) unlink(fault_path);
  return strstr(text, "unseen") != NULL ? fault_unseen : found;
}

/* Sets errno. */
static int is_refused(int fd) {
  struct stat status;
  pthread_once(&once, prepare);
  if (fault_path == NULL || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || !fault(fault_write)) return 0;
  errno = EIO;
  return 1;
}

static int refuse(int found) {
  if (found & fault_unseen) return 0;
  errno = EIO;
  return -1;
}

/* A write through a descriptor that syncs each one is on the disk when it returns. Returns -1 when that has failed. */
static int note_done(int fd, const struct stat *status, int64_t number) {
  if ((fcntl(fd, F_GETFL) & O_DSYNC) == 0) return 0;
  usleep(sync_us);
  int found = fault(fault_through);
  if (found != 0) {
    note(entry_one_forgotten, number, status, 0, 0, 0);
    return refuse(found);
  }
  if (!lies) note(entry_synced, number, status, 0, 0, 0);
  return 0;
}

static off_t position(int fd) {
  if (fcntl(fd, F_GETFL) & O_APPEND) fail("write-recorder: appending is not known");
  return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *bytes, size_t length) {
  struct stat status;
  if (is_refused(fd)) return -1;
  if (!is_recorded(fd, &status)) return real_write(fd, bytes, length);
  pthread_mutex_lock(&lock);
  int64_t number = note_write(fd, &status, position(fd), length);
  ssize_t result = real_write(fd, bytes, length);
  if (note_done(fd, &status, number) != 0) result = -1;
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  struct stat status;
  if (is_refused(fd)) return -1;
  if (!is_recorded(fd, &status)) return real_writev(fd, parts, count);
  size_t length = 0;
  for (int index = 0; index < count; index++) length += parts[index].iov_len;
  pthread_mutex_lock(&lock);
  int64_t number = note_write(fd, &status, position(fd), length);
  ssize_t result = real_writev(fd, parts, count);
  if (note_done(fd, &status, number) != 0) result = -1;
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) {
  struct stat status;
  if (is_refused(fd)) return -1;
  if (!is_recorded(fd, &status)) return real_pwrite(fd, bytes, length, offset);
  pthread_mutex_lock(&lock);
  int64_t number = note_write(fd, &status, offset, length);
  ssize_t result = real_pwrite(fd, bytes, length, offset);
  if (note_done(fd, &status, number) != 0) result = -1;
  pthread_mutex_unlock(&lock);
  return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return pwrite64(fd, bytes, length, offset); }

static int sync_recorded(const struct stat *status) {
  pthread_mutex_lock(&lock);
  int64_t number = sequence;
  pthread_mutex_unlock(&lock);
  usleep(sync_us);
  int found = fault(fault_flush);
  pthread_mutex_lock(&lock);
  if (found != 0) note(entry_forgotten, number, status, 0, 0, 0);
  else if (!lies) note(entry_sync, number, status, 0, 0, 0);
  pthread_mutex_unlock(&lock);
  return found == 0 ? 0 : refuse(found);
}

static int is_below(const char *path) {
  pthread_once(&once, prepare);
  return entries != -1 && strncmp(path, folder, strlen(folder)) == 0;
}

/* One write: lines of several threads do not mix. */
static void note_entry(const char *what, const char *path, const char *old) {
  char line[8400];
  int length = snprintf(line, sizeof line, old == NULL ? "%s %s\n" : "%s %s\n%s\n", what, path, old);
  if (length >= (int)sizeof line || real_write(entries, line, (size_t)length) != length) fail("write-recorder: entries");
}

int open64(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  int is_new = (flags & O_CREAT) != 0 && is_below(path) && access(path, F_OK) != 0;
  pthread_once(&once, prepare);
  int fd = real_open(path, flags, mode);
  if (fd != -1 && is_new) note_entry("made", path, NULL);
  return fd;
}

int open(const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return open64(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
  pthread_once(&once, prepare);
  int result = real_mkdir(path, mode);
  if (result == 0 && is_below(path)) note_entry("made", path, NULL);
  return result;
}

int rename(const char *from, const char *to) {
  pthread_once(&once, prepare);
  int is_new = is_below(to) && access(to, F_OK) != 0;
  int result = real_rename(from, to);
  if (result == 0 && is_new) note_entry("moved", to, from);
  return result;
}

static int sync_directory(int fd) {
  struct stat status;
  char link[64], path[4096];
  int result = real_fsync(fd);
  if (result != 0 || entries == -1 || fstat(fd, &status) != 0 || !S_ISDIR(status.st_mode)) return result;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  path[length < 0 ? 0 : length] = 0;
  if (is_below(path)) note_entry("synced", path, NULL);
  return result;
}

int fsync(int fd) {
  struct stat status;
  return is_recorded(fd, &status) ? sync_recorded(&status) : sync_directory(fd);
}

int fdatasync(int fd) {
  struct stat status;
  return is_recorded(fd, &status) ? sync_recorded(&status) : real_fdatasync(fd);
}

/* Other ways to change a file are not known: who takes one must be found. */
int ftruncate64(int fd, off_t length) {
  struct stat status;
  if (is_recorded(fd, &status)) fail("write-recorder: ftruncate is not known");
  return real_ftruncate(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
  static ssize_t (*real)(int, const struct iovec *, int, off_t);
  struct stat status;
  if (is_recorded(fd, &status)) fail("write-recorder: pwritev is not known");
  if (real == NULL) real = dlsym(RTLD_NEXT, "pwritev64");
  return real(fd, parts, count, offset);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  return pwritev64(fd, parts, count, offset);
}
