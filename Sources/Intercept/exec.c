// What a process passes on at exec: LD_PRELOAD and ZT_NC_NETWORK, also through an environment that somebody cleaned.
//
// Programs that start others often hand them a fresh environment (sshd, cron, CGI, env -i). What they start belongs to
// the same virtual network; so an environment that lacks the library or the network is replaced by a copy that has
// them. Everything else in it stays as it is, other entries of LD_PRELOAD too, in their order and before ours. An empty
// ZT_NC_NETWORK is a wish, and respected: that program gets the host's network.
//
// The copies are made in memory of the caller's (on its stack): exec is called in children of vfork and in signal
// handlers, where nothing may be allocated or locked.
#include <dlfcn.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "intercept.h"

#define PRELOAD "LD_PRELOAD="
#define NETWORK "ZT_NC_NETWORK="

// Where the loader found this library; absolute, but for a working folder that cannot be told.
static char library_path[PATH_MAX];
static const char *library_name; // the last part of it

void nc_make_absolute(const char *path, char *room, size_t bytes) {
  size_t length = strnlen(path, bytes - 1);
  size_t before = 0;
  if (path[0] != '/') {
    // The kernel counts the NUL, and begins with "(unreachable)" outside of the root.
    long counted = nc_raw(SYS_getcwd, (long)room, (long)bytes, 0, 0, 0, 0);
    if (counted > 0 && room[0] == '/' && (size_t)counted + length < bytes) {
      before = (size_t)counted;
      room[before - 1] = '/';
    }
  }
  memcpy(room + before, path, length);
  room[before + length] = 0;
}

void nc_exec_begin(void) {
  Dl_info info;
  // The address of data: a function's could be that of a stub in the program.
  if (dladdr(&nc_native_table, &info) == 0 || info.dli_fname == NULL) return;
  nc_make_absolute(info.dli_fname, library_path, sizeof library_path);
  const char *slash = strrchr(library_path, '/');
  library_name = slash != NULL ? slash + 1 : library_path;
}

// The value of `entry` if it is that of the variable, else null.
static const char *value_of(const char *entry, const char *variable, size_t bytes) {
  return strncmp(entry, variable, bytes) == 0 ? entry + bytes : NULL;
}

struct survey {
  size_t count;        /* entries */
  size_t preload_at;   /* LD_PRELOAD: of several the loader takes the last; `count`: none */
  size_t network_at;   /* ZT_NC_NETWORK: of several getenv() finds the first */
  const char *preload; /* their values */
  const char *network;
};

static struct survey look_over(char *const environment[]) {
  struct survey found = {0};
  if (environment == NULL) return found; // as the kernel takes it: empty
  for (; environment[found.count] != NULL; found.count++) {
    const char *entry = environment[found.count];
    const char *value = value_of(entry, PRELOAD, sizeof PRELOAD - 1);
    if (value != NULL) {
      found.preload = value;
      found.preload_at = found.count;
    } else if (found.network == NULL && (value = value_of(entry, NETWORK, sizeof NETWORK - 1)) != NULL) {
      found.network = value;
      found.network_at = found.count;
    }
  }
  return found;
}

// The next entry of an LD_PRELOAD (separated by blanks or colons) at or after `at`; its length, 0 at the end.
static size_t next_library(const char **at) {
  *at += strspn(*at, ": ");
  return strcspn(*at, ": ");
}

enum whose { OTHER, OURS, OURS_RELATIVE /* found from this process's first working folder only */ };

static enum whose whose_library(const char *entry, size_t bytes) {
  size_t name_bytes = strlen(library_name);
  if (bytes < name_bytes || memcmp(entry + bytes - name_bytes, library_name, name_bytes) != 0) return OTHER;
  if (bytes == name_bytes) return OURS; // a bare name: the loader searches for it
  if (entry[bytes - name_bytes - 1] != '/') return OTHER;
  return entry[0] == '/' || entry[0] == '$' ? OURS : OURS_RELATIVE;
}

static bool has_library(const char *preload) {
  bool found = false;
  for (size_t bytes; preload != NULL && (bytes = next_library(&preload)) > 0; preload += bytes) {
    enum whose whose = whose_library(preload, bytes);
    if (whose == OURS_RELATIVE) return false;
    found = found || whose == OURS;
  }
  return found;
}

static bool has_network(const char *network) {
  const char *given = nc_network_path_as_given();
  return network != NULL && (given[0] == '/' || strcmp(network, given) != 0);
}

bool nc_environment_leaves(char *const environment[]) {
  const char *network = look_over(environment).network;
  return network != NULL && network[0] == 0;
}

size_t nc_environment_room(char *const environment[]) {
  if (library_name == NULL) return 0;
  struct survey found = look_over(environment);
  if (found.network != NULL && found.network[0] == 0) return 0;
  if (has_library(found.preload) && has_network(found.network)) return 0;
  size_t strings = sizeof PRELOAD + sizeof NETWORK + strlen(library_path) + 1 + strlen(nc_network_path());
  if (found.preload != NULL) strings += strlen(found.preload) + 1;
  return (found.count + 3) * sizeof(char *) + strings;
}

static char *append(char *at, const char *text, size_t bytes) {
  memcpy(at, text, bytes);
  return at + bytes;
}

// Writes an LD_PRELOAD with all that `preload` lists but ourselves, and us at its end. Returns where it ends.
static char *write_preload(char *at, const char *preload) {
  at = append(at, PRELOAD, sizeof PRELOAD - 1);
  for (size_t bytes; preload != NULL && (bytes = next_library(&preload)) > 0; preload += bytes) {
    if (whose_library(preload, bytes) != OTHER) continue;
    at = append(at, preload, bytes);
    *at++ = ':';
  }
  return append(at, library_path, strlen(library_path) + 1);
}

char **nc_environment_build(char *const environment[], void *room) {
  struct survey found = look_over(environment);
  char **built = room;
  for (size_t index = 0; index < found.count; index++) built[index] = environment[index];
  size_t count = found.count;
  char *text = (char *)(built + count + 3);
  if (!has_library(found.preload)) {
    built[found.preload != NULL ? found.preload_at : count++] = text;
    text = write_preload(text, found.preload);
  }
  if (!has_network(found.network)) {
    built[found.network != NULL ? found.network_at : count++] = text;
    text = append(text, NETWORK, sizeof NETWORK - 1);
    memcpy(text, nc_network_path(), strlen(nc_network_path()) + 1);
  }
  built[count] = NULL;
  return built;
}

void nc_environment_keep(void) {
  size_t room = nc_environment_room(environ);
  if (room == 0) return;
  char **built = nc_environment_build(environ, __builtin_alloca(room));
  for (; *built != NULL; built++) {
    const char *value = value_of(*built, PRELOAD, sizeof PRELOAD - 1);
    if (value != NULL) (void)setenv("LD_PRELOAD", value, 1);
    if ((value = value_of(*built, NETWORK, sizeof NETWORK - 1)) != NULL) (void)setenv("ZT_NC_NETWORK", value, 1);
  }
}
