// Programs that cannot be preloaded, told by a look at the file before exec: a user who is not told would take the host's
// network for the virtual one.
//
// The loader drops LD_PRELOAD where a program gains privileges (secure execution, ld.so(8); the rules are those of
// cap_bprm_creds_from_file in the kernel), and statically linked programs have no loader. Scripts are judged by their
// interpreter. All of it is a guess by those who only start the program, so it decides nothing but a message.
//
// Bare system calls and the stack only: exec is called in children of vfork and in signal handlers.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/limits.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "intercept.h"

#if defined(__x86_64__)
enum { OUR_MACHINE = EM_X86_64 };
#else
enum { OUR_MACHINE = EM_AARCH64 };
#endif

enum { HEAD_BYTES = 2048, SCRIPTS_DEEP = 5 /* as the kernel: BINPRM_BUF loops, exec_binprm */, REMEMBERED = 64 };

static bool is_silent;

void nc_target_begin(void) {
  const char *wish = getenv("NETCOND_EXEC_WARNINGS");
  is_silent = wish != NULL && strcmp(wish, "0") == 0;
}

// Programs already told of, by file; a forked child goes on with its parent's.
static uint64_t told[REMEMBERED];

static bool is_told(const struct stat *file) {
  uint64_t key = (uint64_t)file->st_ino * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)file->st_dev;
  key |= key == 0;
  for (int index = 0; index < REMEMBERED; index++) {
    uint64_t empty = 0;
    if (__atomic_compare_exchange_n(&told[index], &empty, key, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) return false;
    if (empty == key) return true;
  }
  return true; // enough said
}

struct reason {
  const char *why;
  const char *cure;
};

static const char by_hand[] = "start it as a user who needs no such right, or let it start 'zerotier-intercept PROGRAM'";
static const struct reason SET_USER_ID = {"is set-user-id", by_hand};
static const struct reason SET_GROUP_ID = {"is set-group-id", by_hand};
static const struct reason CAPABILITIES = {"has file capabilities", by_hand};
static const struct reason IDS_DIFFER = {"would run with other effective than real ids", by_hand};
static const struct reason STATIC = {"is statically linked", "use a dynamically linked build"};
static const struct reason MACHINE = {"is for another kind of processor", "use a 64-bit build for this one"};

static void say(const char *program, const struct reason *reason) {
  const char *parts[] = {"netcond: ", program, " ", reason->why,
                         ", so nothing can be preloaded into it: it and what it starts use the host's network, not ",
                         nc_network_path(), ". To change that, ", reason->cure,
                         "; NETCOND_EXEC_WARNINGS=0 silences this\n"};
  enum { PARTS = sizeof parts / sizeof parts[0] };
  struct iovec pieces[PARTS];
  for (int index = 0; index < PARTS; index++)
    pieces[index] = (struct iovec){.iov_base = (void *)parts[index], .iov_len = strlen(parts[index])};
  nc_say(pieces, PARTS);
}

struct identity {
  unsigned user, group, effective_user, effective_group;
};

static struct identity who_we_are(void) {
  return (struct identity){
    .user = (unsigned)nc_raw(SYS_getuid, 0, 0, 0, 0, 0, 0),
    .group = (unsigned)nc_raw(SYS_getgid, 0, 0, 0, 0, 0, 0),
    .effective_user = (unsigned)nc_raw(SYS_geteuid, 0, 0, 0, 0, 0, 0),
    .effective_group = (unsigned)nc_raw(SYS_getegid, 0, 0, 0, 0, 0, 0),
  };
}

// Whether the kernel heeds what a file grants.
static bool may_gain(int fd) {
  struct statfs system;
  if (nc_raw(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0, 0) == 1) return false;
  return nc_raw(SYS_fstatfs, fd, (long)&system, 0, 0, 0, 0) != 0 || (system.f_flags & ST_NOSUID) == 0;
}

static bool grants_capabilities(int fd) {
  struct vfs_cap_data granted = {0};
  long bytes = nc_raw(SYS_fgetxattr, fd, (long)"security.capability", (long)&granted, sizeof granted, 0, 0);
  // ERANGE: a longer form (of a user namespace).
  return bytes == -ERANGE || (bytes > 0 && (granted.data[0].permitted != 0 || granted.data[1].permitted != 0));
}

static const struct reason *reason_by_privilege(int fd, const struct stat *file) {
  struct identity us = who_we_are();
  if (may_gain(fd)) {
    if ((file->st_mode & S_ISUID) != 0) {
      if (file->st_uid != us.user) return &SET_USER_ID;
      us.effective_user = us.user;
    }
    // Without S_IXGRP the bit meant mandatory locking.
    if ((file->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
      if (file->st_gid != us.group) return &SET_GROUP_ID;
      us.effective_group = us.group;
    }
    if (us.user != 0 && grants_capabilities(fd)) return &CAPABILITIES;
  }
  return us.effective_user != us.user || us.effective_group != us.group ? &IDS_DIFFER : NULL;
}

static bool is_loader(const char *path) {
  const char *slash = strrchr(path, '/');
  const char *name = slash != NULL ? slash + 1 : path;
  return strncmp(name, "ld-", 3) == 0 || strncmp(name, "ld.", 3) == 0 || strncmp(name, "ld64.", 5) == 0;
}

// Null for what can be preloaded, or cannot be judged.
static const struct reason *reason_by_header(const char *path, const unsigned char *head, size_t bytes) {
  Elf64_Ehdr elf;
  if (bytes < sizeof elf) return NULL;
  memcpy(&elf, head, sizeof elf);
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != OUR_MACHINE) return &MACHINE;
  if (elf.e_phentsize != sizeof(Elf64_Phdr)) return NULL;
  for (unsigned index = 0; index < elf.e_phnum; index++) {
    Elf64_Phdr part;
    uint64_t at = elf.e_phoff + (uint64_t)index * sizeof part;
    if (at > bytes - sizeof part) return NULL;
    memcpy(&part, head + at, sizeof part);
    if (part.p_type == PT_INTERP) return NULL;
  }
  // The loader itself, called by name, is linked like that and preloads for the program it is given.
  return is_loader(path) ? NULL : &STATIC;
}

// Takes the interpreter out of "#!  /bin/sh -e\n" in place, as the kernel does. Null if there is none.
static char *interpreter_of(char *head, size_t bytes) {
  if (bytes < 3 || head[0] != '#' || head[1] != '!') return NULL;
  head[bytes - 1] = 0; // a line that long is refused by the kernel
  char *path = head + 2 + strspn(head + 2, " \t");
  path[strcspn(path, " \t\n")] = 0;
  return path[0] != 0 ? path : NULL;
}

// valgrind's tools are static, and see themselves to what is preloaded into the program that they run.
static bool is_by_valgrind(char *const environment[]) {
  static const char variable[] = "VALGRIND_LAUNCHER=";
  for (; environment != NULL && *environment != NULL; environment++)
    if (strncmp(*environment, variable, sizeof variable - 1) == 0) return true;
  return false;
}

// Looks at an open file. Returns the interpreter to look at next, which stands in `head`, or null.
static char *look_at(int fd, const char *path, const struct stat *file, char *const environment[],
                     char head[HEAD_BYTES]) {
  long bytes = nc_raw(SYS_pread64, fd, (long)head, HEAD_BYTES, 0, 0, 0);
  char *interpreter = bytes > 0 ? interpreter_of(head, (size_t)bytes) : NULL;
  if (interpreter != NULL) return interpreter; // privileges of a script are not heeded
  const struct reason *reason = reason_by_privilege(fd, file);
  if (reason == NULL && bytes > SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
    reason = reason_by_header(path, (const unsigned char *)head, (size_t)bytes);
  if (reason != NULL && !(reason == &STATIC && is_by_valgrind(environment)) && !is_told(file)) say(path, reason);
  return NULL;
}

static long status_of(int folder, const char *path, int flags, struct stat *file) {
#ifdef SYS_newfstatat
  return nc_raw(SYS_newfstatat, folder, (long)path, (long)file, flags, 0, 0);
#else
  return nc_raw(SYS_fstatat, folder, (long)path, (long)file, flags, 0, 0);
#endif
}

void nc_target_check(int folder, const char *path, int flags, char *const environment[]) {
  if (is_silent || path == NULL || nc_environment_leaves(environment)) return;
  char heads[2][HEAD_BYTES]; // one holds the name of what is read into the other
  const char *program = path;
  for (int deep = 0; deep < SCRIPTS_DEEP && program != NULL; deep++) {
    struct stat file;
    bool is_open = program[0] == 0 && (flags & AT_EMPTY_PATH) != 0; // fexecve()
    // Never opened but as a regular file: to open a pipe or a device can do things.
    if (status_of(folder, program, flags & AT_EMPTY_PATH, &file) != 0 || !S_ISREG(file.st_mode)) return;
    int fd = is_open ? folder
                     : (int)nc_raw(SYS_openat, folder, (long)program, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, 0, 0);
    if (fd < 0) return; // to be executed, but not read
    const char *next = look_at(fd, is_open ? "the open file" : program, &file, environment, heads[deep % 2]);
    if (!is_open) nc_raw_close(fd);
    program = next;
    folder = AT_FDCWD;
  }
}

void nc_target_check_name(const char *name, char *const environment[]) {
  if (is_silent || name == NULL || name[0] == 0) return;
  if (strchr(name, '/') != NULL) {
    nc_target_check(AT_FDCWD, name, 0, environment);
    return;
  }
  const char *list = getenv("PATH");
  if (list == NULL) list = "/bin:/usr/bin"; // as execvp()
  char path[PATH_MAX];
  size_t name_bytes = strlen(name) + 1;
  for (;; list++) {
    size_t bytes = strcspn(list, ":");
    if (bytes + 1 + name_bytes <= sizeof path) {
      memcpy(path, list, bytes);
      path[bytes] = '/';
      memcpy(path + bytes + (bytes > 0), name, name_bytes); // an empty entry is the working folder
      if (nc_raw(SYS_faccessat, AT_FDCWD, (long)path, 1 /* X_OK */, 0, 0, 0) == 0) {
        nc_target_check(AT_FDCWD, path, 0, environment);
        return;
      }
    }
    list += bytes;
    if (*list == 0) return;
  }
}
