// Hosts files, as hosts(5) has them: an address and its names on each line, # begins a comment.
//
// As glibc with `multi on`: all lines of a file count. The first file that has the name, for a family that is wanted,
// answers alone.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"

static const char *home_hosts(char path[static 128]) {
  const char *socket = nc_network_path(), *slash = strrchr(socket, '/');
  size_t bytes = slash == NULL ? 0 : (size_t)(slash - socket) + 1;
  if (bytes > 128 - sizeof "hosts") return NULL;
  memcpy(path, socket, bytes);
  memcpy(path + bytes, "hosts", sizeof "hosts");
  return path;
}

// Whether `names` has `name`; the names are words separated by blanks.
static bool has_name(const char *names, const char *name) {
  size_t bytes = strlen(name);
  for (const char *at = names; *at != 0;) {
    size_t word = strcspn(at, " \t");
    if (word == bytes && strncasecmp(at, name, bytes) == 0) return true;
    at += word;
    at += strspn(at, " \t");
  }
  return false;
}

static void take_names(char *names, struct nc_host *host) {
  char *rest = names;
  for (char *word; (word = strsep(&rest, " \t")) != NULL;) {
    if (*word == 0) continue;
    if (host->name[0] == 0 && strlen(word) < sizeof host->name) strcpy(host->name, word);
    else nc_host_add_alias(host, word);
  }
}

// Splits a line into its address and, at the return, its names; NULL where it has none.
static char *split(char *line, struct nc_address *address) {
  line[strcspn(line, "#\r\n")] = 0;
  line += strspn(line, " \t");
  char *names = line + strcspn(line, " \t");
  if (*names == 0) return NULL;
  *names++ = 0;
  names += strspn(names, " \t");
  memset(address, 0, sizeof *address);
  address->family = strchr(line, ':') != NULL ? AF_INET6 : AF_INET;
  return *names != 0 && inet_pton(address->family, line, address->bytes) == 1 ? names : NULL;
}

struct search {
  const char *name;                 /* or NULL: */
  const struct nc_address *address;
  int wanted;
};

static bool matches(const struct search *search, const struct nc_address *address, const char *names) {
  if (search->name == NULL)
    return address->family == search->address->family && memcmp(address->bytes, search->address->bytes, 16) == 0;
  int wanted = address->family == AF_INET ? NC_WANT_V4 : NC_WANT_V6;
  return (search->wanted & wanted) != 0 && has_name(names, search->name);
}

static bool look_into(const char *path, const struct search *search, struct nc_host *host) {
  FILE *file = path == NULL ? NULL : fopen(path, "rce");
  if (file == NULL) return false;
  char *line = NULL;
  size_t room = 0;
  bool found = false;
  while (getline(&line, &room, file) >= 0) {
    struct nc_address address;
    char *names = split(line, &address);
    if (names == NULL || !matches(search, &address, names)) continue;
    if (!nc_host_add(host, &address)) break;
    take_names(names, host);
    found = true;
    if (search->name == NULL) break;
  }
  free(line);
  fclose(file);
  return found;
}

static bool look(const struct search *search, struct nc_host *host) {
  char path[128];
  int saved = errno; // of a file that is not there
  bool found = look_into(home_hosts(path), search, host) || look_into("/etc/hosts", search, host);
  errno = saved;
  return found;
}

bool nc_files_find_name(const char *name, int wanted, struct nc_host *host) {
  return look(&(struct search){.name = name, .wanted = wanted}, host);
}

bool nc_files_find_address(const struct nc_address *address, struct nc_host *host) {
  return look(&(struct search){.address = address}, host);
}
