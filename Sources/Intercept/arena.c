// Bulk without the copies of a socketpair: what an app writes in large pieces to a connection is put into memory that the
// daemon shares (netcond_arena.h), and only a marker goes through the pair, one byte that names the block.
//
// A marker is told from the app's bytes by the fd that comes with it (SCM_RIGHTS; the kernel never joins what follows it to
// it). Which fd does not matter, and the daemon lets the kernel drop it. So the order is the pair's own, whoever else writes
// to the connection: other processes, sendfile, a program without this library. Poll, blocking, time-outs and
// signals are the pair's own too: its buffer is made so small that about nine markers fill it.
//
// A connection gets its arena once it has written so much that mapping one pays. What is known of it here is a cache keyed
// by the fd's number and checked by SO_COOKIE at each use. Where anything is amiss, the bytes go through the pair.
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "intercept.h"

enum {
  ENTRIES = 128,            /* connections of a process that may have one, chosen by fd */
  LEAST_BYTES = 2048,       /* of a write that is worth a block */
  HABIT_KIB = 1024,         /* written in large pieces: there will be more */
  REFUSED_KIB = -64 * 1024, /* before asking again */
  SMALL_WRITES = 32,        /* one after the other: bulk is over for now */
  RELY_TIMES = 64,          /* writes from the same memory for one look at it */
  MOST_PARTS = 16,
};

#define EXCLUSIVE 0x80000000u

struct entry {
  uint32_t users; /* calls that use the mapping, or EXCLUSIVE while it changes */
  int32_t fd;     /* valid with `arena` */
  uint64_t cookie;
  struct nc_arena *arena;
  uint64_t seen;  /* the app's memory that could be read last: first page << 20 | pages; and how often that was relied on */
  uint32_t relied;
  int32_t kib;    /* written in large pieces, by whichever fds have this entry */
  int32_t small;
};

static struct entry entries[ENTRIES];
bool nc_arenas_used;

// The fd that goes with markers: the first arena's own. A program may close it or put another in its place, which must
// not be kept open by us: so it is looked at each time.
static int token_fd = -1;
enum { TOKEN_COMES = -2 };
static uint64_t token_inode;

static uint64_t inode_of(int fd) {
  struct stat status;
  return nc_raw(SYS_fstat, fd, (long)&status, 0, 0, 0, 0) == 0 && S_ISREG(status.st_mode) ? status.st_ino : 0;
}

static bool enter(struct entry *entry) {
  uint32_t users = __atomic_load_n(&entry->users, __ATOMIC_RELAXED);
  while ((users & EXCLUSIVE) == 0)
    if (__atomic_compare_exchange_n(&entry->users, &users, users + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) return true;
  return false;
}

static void leave(struct entry *entry) { (void)__atomic_fetch_sub(&entry->users, 1, __ATOMIC_RELEASE); }

static bool enter_alone(struct entry *entry) {
  uint32_t none = 0;
  return __atomic_compare_exchange_n(&entry->users, &none, EXCLUSIVE, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void leave_alone(struct entry *entry) { __atomic_store_n(&entry->users, 0, __ATOMIC_RELEASE); }

// The fd is another connection's now, or none.
static void forget(struct entry *entry) {
  if (!enter_alone(entry)) return;
  if (entry->arena != NULL) (void)nc_raw(SYS_munmap, (long)entry->arena, NC_ARENA_BYTES, 0, 0, 0, 0);
  entry->arena = NULL;
  entry->kib = 0;
  leave_alone(entry);
}

static bool keep_token(int fd) {
  int token = -1;
  if (!__atomic_compare_exchange_n(&token_fd, &token, TOKEN_COMES, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE)) {
    nc_raw_close(fd);
    // Else closed by the program, which will do so again; or another thread's is just coming.
    return token != TOKEN_COMES && inode_of(token) == token_inode;
  }
  token_inode = inode_of(fd);
  __atomic_store_n(&token_fd, nc_raise_fd(fd), __ATOMIC_RELEASE);
  return true;
}

// The arena of the connection, mapped; NULL where there is none. -EAGAIN in `*status`: later.
static struct nc_arena *map_arena(int fd, int *status) {
  struct nc_request request = {.op = NC_OP_ARENA};
  struct nc_reply reply;
  int memory = -1;
  *status = nc_rpc(&request, fd, &reply, &memory, true);
  if (*status != 0 || memory < 0) return NULL;
  long mapped = nc_raw(SYS_mmap, 0, NC_ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (mapped < 0) {
    nc_raw_close(memory);
    return NULL;
  }
  if (keep_token(memory)) return (struct nc_arena *)mapped;
  (void)nc_raw(SYS_munmap, mapped, NC_ARENA_BYTES, 0, 0, 0, 0);
  return NULL;
}

// Asks for the connection's arena. Whatever comes of it, the write that led here has gone through the pair.
static void open_arena(struct entry *entry, int fd) {
  struct nc_name name;
  if (!enter_alone(entry)) return;
  entry->kib = REFUSED_KIB;
  if (entry->arena == NULL && nc_identify(fd, &name) && name.type == SOCK_STREAM && name.state == NC_STATE_CONNECTED) {
    int status;
    struct nc_arena *arena = map_arena(fd, &status);
    if (status == -EAGAIN) entry->kib = HABIT_KIB;
    if (arena != NULL) {
      entry->fd = fd;
      entry->cookie = nc_cookie(fd);
      entry->small = 0;
      entry->arena = arena;
      __atomic_store_n(&nc_arenas_used, true, __ATOMIC_RELAXED);
    }
  }
  leave_alone(entry);
}

// Returns whether the width has changed.
static bool set_width(int fd, struct nc_arena *arena, bool is_narrow) {
  if ((__atomic_load_n(&arena->is_narrow, __ATOMIC_RELAXED) != 0) == is_narrow) return false;
  __atomic_store_n(&arena->is_narrow, is_narrow, __ATOMIC_RELAXED);
  int bytes = is_narrow ? NC_ARENA_NARROW_BYTES : arena->wide_bytes;
  (void)nc_raw_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  return true;
}

enum { PAGE = 4096, POPULATE_READ = 22 /* MADV_POPULATE_READ, Linux 5.14 */ };

// Whether the program's memory can be read, which is brought in; else the kernel is to say EFAULT.
static bool can_read(uintptr_t first_page, size_t pages) {
  return nc_raw(SYS_madvise, (long)(first_page * PAGE), (long)(pages * PAGE), POPULATE_READ, 0, 0, 0) == 0;
}

static void pages_of(const void *base, size_t bytes, uintptr_t *first, size_t *count) {
  *first = (uintptr_t)base / PAGE;
  *count = ((uintptr_t)base + bytes - 1) / PAGE - *first + 1;
}

// All parts of a write. One that comes from the same memory again and again is not looked at each time, which costs a tenth
// of a microsecond for each page.
static bool is_readable(struct entry *entry, const struct iovec *parts, size_t count) {
  uintptr_t first;
  size_t pages;
  if (count == 1) {
    pages_of(parts->iov_base, parts->iov_len, &first, &pages);
    uint64_t key = (uint64_t)first << 20 | pages; // a program's addresses have 56 bits at most, writes 2 GiB
    if (__atomic_load_n(&entry->seen, __ATOMIC_RELAXED) == key &&
        __atomic_add_fetch(&entry->relied, 1, __ATOMIC_RELAXED) % RELY_TIMES != 0)
      return true;
    __atomic_store_n(&entry->seen, 0, __ATOMIC_RELAXED);
    if (!can_read(first, pages)) return false;
    __atomic_store_n(&entry->seen, key, __ATOMIC_RELAXED);
    return true;
  }
  for (size_t index = 0; index < count; index++) {
    if (parts[index].iov_len == 0) continue;
    pages_of(parts[index].iov_base, parts[index].iov_len, &first, &pages);
    if (!can_read(first, pages)) return false;
  }
  return true;
}

struct source {
  const struct iovec *part;
  size_t count, offset; /* parts left, the first one from here */
};

static uint32_t fill(char *block, struct source *source) {
  uint32_t filled = 0;
  while (filled < NC_ARENA_BLOCK_BYTES && source->count > 0) {
    size_t left = source->part->iov_len - source->offset, room = NC_ARENA_BLOCK_BYTES - filled;
    size_t step = left < room ? left : room;
    memcpy(block + filled, (const char *)source->part->iov_base + source->offset, step);
    filled += (uint32_t)step;
    source->offset += step;
    if (source->offset < source->part->iov_len) break;
    source->part++;
    source->count--;
    source->offset = 0;
  }
  return filled;
}

static ssize_t send_marker(int fd, uint8_t block, int flags) {
  struct iovec part = {.iov_base = &block, .iov_len = 1};
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &token_fd, sizeof token_fd);
  struct msghdr message = {
    .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  return nc_native()->sendmsg(fd, &message, flags | MSG_NOSIGNAL); // a wait, and a cancellation point, as the app's call
}

// What the blocks did not take goes through the pair, as one call: one that waits takes all.
static ssize_t send_rest(int fd, struct nc_arena *arena, const struct source *source, int flags) {
  struct iovec parts[MOST_PARTS];
  memcpy(parts, source->part, source->count * sizeof *parts);
  parts[0].iov_base = (char *)parts[0].iov_base + source->offset;
  parts[0].iov_len -= source->offset;
  (void)set_width(fd, arena, false);
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = source->count};
  return nc_native()->sendmsg(fd, &message, flags | MSG_NOSIGNAL);
}

// What the app's call returns.
static ssize_t send_blocks(int fd, struct nc_arena *arena, struct source source, size_t bytes, int flags) {
  size_t total = 0;
  // Plain bytes that still lie in the pair, and left room when it was wide, may leave none now.
  bool was_wide = set_width(fd, arena, true);
  while (total < bytes) {
    struct source before = source;
    int block = nc_arena_take(arena);
    uint32_t filled = 0;
    ssize_t sent = 0;
    if (block >= 0) {
      filled = fill(nc_arena_block(arena, (uint32_t)block), &source);
      nc_arena_announce(arena, (uint32_t)block, filled);
      sent = send_marker(fd, (uint8_t)block, flags);
    }
    if (sent == 1) {
      total += filled;
      continue;
    }
    int error = errno;
    if (block >= 0) {
      (void)nc_arena_heed(arena, (uint32_t)block);
      nc_arena_give(arena, UINT64_C(1) << block);
    }
    // Anything else, as ETOOMANYREFS or EBADF, is about the marker and not the connection.
    bool is_full = error == EAGAIN && !(was_wide && total == 0);
    if (block < 0 || (!is_full && error != EINTR && error != EPIPE && error != ECONNRESET)) {
      sent = send_rest(fd, arena, &before, flags);
      if (sent >= 0) return (ssize_t)total + sent;
      error = errno;
    }
    errno = error;
    return total > 0 ? (ssize_t)total : -1;
  }
  return (ssize_t)total;
}

static size_t total_of(const struct iovec *parts, size_t count) {
  size_t bytes = 0;
  for (size_t index = 0; index < count; index++)
    if (parts[index].iov_len > INT_MAX || (bytes += parts[index].iov_len) > INT_MAX) return 0; // the kernel's to judge
  return bytes;
}

static bool is_list_readable(const struct iovec *parts, size_t count) {
  uintptr_t first;
  size_t pages;
  pages_of(parts, count * sizeof *parts, &first, &pages);
  return can_read(first, pages);
}

void nc_arena_note(int fd, ssize_t bytes) {
  struct entry *entry = &entries[fd % ENTRIES];
  int32_t kib = __atomic_add_fetch(&entry->kib, (int32_t)(bytes / 1024), __ATOMIC_RELAXED);
  if (kib < HABIT_KIB || nc_is_sandboxed()) return;
  int error = errno;
  // Another's, that has gone?
  if (__atomic_load_n(&entry->arena, __ATOMIC_RELAXED) != NULL && nc_cookie(entry->fd) != entry->cookie) forget(entry);
  if (__atomic_load_n(&entry->arena, __ATOMIC_RELAXED) == NULL) open_arena(entry, fd);
  errno = error;
}

bool nc_arena_send(int fd, const struct iovec *parts, size_t count, bool is_apps, int flags, ssize_t *sent) {
  if (fd < 0 || count == 0 || count > MOST_PARTS) return false;
  struct entry *entry = &entries[fd % ENTRIES];
  if (__atomic_load_n(&entry->arena, __ATOMIC_RELAXED) == NULL || __atomic_load_n(&entry->fd, __ATOMIC_RELAXED) != fd)
    return false;
  if (is_apps && !is_list_readable(parts, count)) return false;
  if (!enter(entry)) return false;
  struct nc_arena *arena = entry->arena;
  size_t bytes = total_of(parts, count);
  bool is_sent = false, is_stale = false;
  if (arena != NULL && entry->fd == fd) {
    if (bytes < LEAST_BYTES) {
      if (__atomic_add_fetch(&entry->small, 1, __ATOMIC_RELAXED) == SMALL_WRITES && nc_cookie(fd) == entry->cookie)
        (void)set_width(fd, arena, false);
    } else if (nc_cookie(fd) != entry->cookie) {
      is_stale = true;
    } else if (inode_of(token_fd) == token_inode && is_readable(entry, parts, count)) {
      __atomic_store_n(&entry->small, 0, __ATOMIC_RELAXED);
      *sent = send_blocks(fd, arena, (struct source){parts, count, 0}, bytes, flags);
      is_sent = true;
    } else {
      (void)set_width(fd, arena, false);
    }
  }
  leave(entry);
  if (is_stale) forget(entry);
  return is_sent;
}
