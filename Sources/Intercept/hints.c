// What is known of an fd number without asking the kernel, so that read() and write() on files, pipes and established
// streams cost a load and a comparison.
//
// The kernel is the table of fds, and what this one says is never taken for truth but in one direction: a number marked
// NC_HINT_FOREIGN was never given to a virtual socket in this process. Numbers change hands inside libc, unseen (fclose,
// closefrom, posix_spawn's file actions), always towards foreign files; so a mark may be stale, and whoever acts on one
// must come out right on a foreign fd. Virtual sockets come by ways that are all seen: socket(), accept, dup and its
// kin, SCM_RIGHTS, pidfd_getfd, and from the program before exec (nc_hints_begin).
//
// A mark is a byte: two bits of kind and six of a count that every new mark raises, so that a thread which has looked at
// a socket (nc_look) cannot mark the one that took its number meanwhile.
#include <dirent.h>
#include <fcntl.h>

#include "intercept.h"

enum { KIND_MASK = 3, COUNT_STEP = 4, PROBED_END = 4096 };

uint8_t nc_hints[NC_HINT_END];

void nc_hint_mark(int fd, enum nc_hint kind) {
  if (fd < 0 || fd >= NC_HINT_END) return;
  uint8_t seen = __atomic_load_n(&nc_hints[fd], __ATOMIC_RELAXED), fresh;
  do fresh = (uint8_t)(((seen & ~KIND_MASK) + COUNT_STEP) | (uint8_t)kind);
  while (!__atomic_compare_exchange_n(&nc_hints[fd], &seen, fresh, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

void nc_hint_copy(int from, int to) {
  enum nc_hint kind = nc_hint(from);
  // The target's former mark goes only with something better to say: a stale one costs a look, a missing one is wrong.
  if (kind != NC_HINT_FOREIGN) nc_hint_mark(to, NC_HINT_LOOK);
}

// Turns NC_HINT_LOOK into NC_HINT_STREAM, unless the number was given away since its byte was `seen`.
static void settle(int fd, uint8_t seen) {
  nc_spin_learn_once(fd);
  if (fd < 0 || fd >= NC_HINT_END || (seen & KIND_MASK) != NC_HINT_LOOK) return;
  uint8_t settled = (uint8_t)((seen & ~KIND_MASK) | NC_HINT_STREAM);
  (void)__atomic_compare_exchange_n(&nc_hints[fd], &seen, settled, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

bool nc_look(int fd, struct nc_name *name) {
  uint8_t seen = nc_hint_byte(fd);
  if (!nc_identify(fd, name)) return false;
  if (name->type == SOCK_STREAM && name->state == NC_STATE_CONNECTED) settle(fd, seen);
  return true;
}

// Connections are settled at once: a program may shut itself into a sandbox (seccomp) in which reading is allowed, but
// to ask what it reads from is not.
static void look_at(int fd) {
  struct nc_name name;
  if (fd < 0 || fd >= NC_HINT_END || !nc_identify(fd, &name)) return;
  bool is_stream = name.type == SOCK_STREAM && name.state == NC_STATE_CONNECTED;
  nc_hint_mark(fd, is_stream ? NC_HINT_STREAM : NC_HINT_LOOK);
  if (is_stream) nc_spin_learn(fd);
}

// The names of /proc/self/fd without opendir: no memory is allocated here, and nothing of libc need be ready.
static bool look_through_proc(void) {
  struct entry {
    uint64_t inode;
    int64_t offset;
    uint16_t bytes;
    uint8_t type;
    char name[];
  };
  int folder = (int)nc_raw(SYS_openat, AT_FDCWD, (long)"/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
  if (folder < 0) return false;
  _Alignas(struct entry) char buffer[2048];
  long bytes;
  while ((bytes = nc_raw(SYS_getdents64, folder, (long)buffer, sizeof buffer, 0, 0, 0)) > 0) {
    for (long at = 0; at < bytes;) {
      const struct entry *entry = (const struct entry *)(buffer + at);
      int fd = 0;
      for (const char *digit = entry->name; *digit >= '0' && *digit <= '9'; digit++) fd = fd * 10 + (*digit - '0');
      if (entry->name[0] != '.' && fd != folder) look_at(fd);
      at += entry->bytes;
    }
  }
  nc_raw_close(folder);
  return bytes == 0;
}

void nc_hints_begin(void) {
  if (look_through_proc()) return;
  // No /proc here. Asked one by one, which takes 60 ns where nothing is open; beyond, any number might be one.
  for (int fd = 0; fd < PROBED_END; fd++) look_at(fd);
  for (int fd = PROBED_END; fd < NC_HINT_END; fd++) nc_hints[fd] = NC_HINT_LOOK;
}
