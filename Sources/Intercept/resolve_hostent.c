// gethostbyname(), gethostbyaddr() and their kin: the result, with all it points to, in the caller's buffer.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>

#include "resolve.h"

struct buffer {
  char *at;
  size_t left;
};

static void *take(struct buffer *buffer, size_t bytes, size_t alignment) {
  size_t padding = -(uintptr_t)buffer->at & (alignment - 1);
  if (buffer->left < padding || buffer->left - padding < bytes) return NULL;
  char *taken = buffer->at + padding;
  buffer->at = taken + bytes;
  buffer->left -= padding + bytes;
  return taken;
}

static char *take_text(struct buffer *buffer, const char *text) {
  size_t bytes = strlen(text) + 1;
  char *copy = take(buffer, bytes, 1);
  if (copy != NULL) memcpy(copy, text, bytes);
  return copy;
}

// Writes the addresses of `family`. Returns false where the buffer is too small.
static bool write_entry(const struct nc_host *host, int family, struct hostent *entry, struct buffer *buffer) {
  int bytes = family == AF_INET ? 4 : 16, count = 0;
  for (int at = 0; at < host->count; at++) count += host->addresses[at].family == family;
  char **addresses = take(buffer, ((size_t)count + 1) * sizeof *addresses, sizeof(char *));
  char **aliases = take(buffer, ((size_t)host->alias_count + 1) * sizeof *aliases, sizeof(char *));
  if (addresses == NULL || aliases == NULL) return false;
  int placed = 0;
  for (int at = 0; at < host->count; at++) {
    if (host->addresses[at].family != family) continue;
    addresses[placed] = take(buffer, (size_t)bytes, 4);
    if (addresses[placed] == NULL) return false;
    memcpy(addresses[placed++], host->addresses[at].bytes, (size_t)bytes);
  }
  addresses[placed] = NULL;
  const char *alias = host->aliases;
  for (int at = 0; at < host->alias_count; at++, alias += strlen(alias) + 1)
    if ((aliases[at] = take_text(buffer, alias)) == NULL) return false;
  aliases[host->alias_count] = NULL;
  char *name = take_text(buffer, host->name);
  if (name == NULL) return false;
  *entry = (struct hostent){.h_name = name, .h_aliases = aliases, .h_addrtype = family, .h_length = bytes,
                            .h_addr_list = addresses};
  return true;
}

// A numeric name is its own answer, of its own family only.
static nc_lookup_status find(const char *name, int family, struct nc_host *host) {
  struct nc_address address;
  if (!nc_numeric_address(name, &address)) return nc_lookup(name, family == AF_INET ? NC_WANT_V4 : NC_WANT_V6, host);
  if (address.family != family || strlen(name) >= sizeof host->name) return HOST_NOT_FOUND;
  strcpy(host->name, name);
  return nc_host_add(host, &address) ? 0 : NETDB_INTERNAL;
}

// The errno that goes with a status, as glibc's nss does it.
static int finish(nc_lookup_status status, const struct nc_host *host, int family, struct hostent *entry, char *buffer,
                  size_t bytes, struct hostent **result, int *error) {
  struct buffer room = {.at = buffer, .left = bytes};
  *result = NULL;
  *error = status;
  if (status != 0) h_errno = status; // programs read it after the reentrant calls too, and glibc has it set
  if (status == 0) {
    if (write_entry(host, family, entry, &room)) {
      *result = entry;
      return 0;
    }
    *error = NETDB_INTERNAL;
    return ERANGE;
  }
  if (status == NETDB_INTERNAL) return errno;
  return status == TRY_AGAIN ? EAGAIN : 0;
}

int nc_gethostbyname(const char *name, int family, struct hostent *entry, char *buffer, size_t bytes,
                     struct hostent **result, int *error) {
  *result = NULL;
  if (family != AF_INET && family != AF_INET6) {
    *error = NETDB_INTERNAL;
    return EAFNOSUPPORT;
  }
  int cancel, saved = errno;
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  struct nc_host *host = nc_host_make();
  nc_lookup_status status = host == NULL ? NETDB_INTERNAL : find(name, family, host);
  int code = finish(status, host, family, entry, buffer, bytes, result, error);
  nc_host_free(host);
  errno = saved;
  (void)pthread_setcancelstate(cancel, &cancel);
  return code;
}

int nc_gethostbyaddr(const void *address, socklen_t length, int family, struct hostent *entry, char *buffer,
                     size_t bytes, struct hostent **result, int *error) {
  *result = NULL;
  if ((family != AF_INET || length != 4) && (family != AF_INET6 || length != 16)) {
    *error = HOST_NOT_FOUND;
    return family == AF_INET || family == AF_INET6 ? EINVAL : EAFNOSUPPORT;
  }
  struct nc_address wanted = {.family = (uint16_t)family};
  memcpy(wanted.bytes, address, length);
  int cancel, saved = errno;
  (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
  struct nc_host *host = nc_host_make();
  nc_lookup_status status = host == NULL ? NETDB_INTERNAL : nc_lookup_address(&wanted, host);
  int code = finish(status, host, family, entry, buffer, bytes, result, error);
  nc_host_free(host);
  errno = saved;
  (void)pthread_setcancelstate(cancel, &cancel);
  return code;
}
