// fopen() of /proc/net/if_inet6: the one file of /proc/net that programs decide by. Java has IPv6 only where this file has
// a line (java.base's net_util_md.c), and finds the IPv6 addresses of interfaces in it; in a container without a network
// of its own the host's file is empty.
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "exports.h"
#include "facts.h"

enum { IPV6_PERMANENT = 0x80 /* IFA_F_PERMANENT */ };

// As the kernel shows the scope (net/ipv6.h): the node's, the link's, the site's, or the world's.
static unsigned scope_of(const struct in6_addr *address) {
  if (IN6_IS_ADDR_LOOPBACK(address)) return 0x10;
  if (IN6_IS_ADDR_LINKLOCAL(address)) return 0x20;
  return IN6_IS_ADDR_SITELOCAL(address) ? 0x40 : 0;
}

// A line as if6_seq_show() has it: address, index, prefix, scope, flags, name.
static int put_line(int file, const struct nc_address_fact *fact) {
  struct nc_interface_fact interface;
  int error = nc_interface_numbered(fact->interface, &interface);
  if (error != 0) return error;
  struct in6_addr address;
  memcpy(&address, fact->address.bytes, sizeof address);
  char hex[2 * sizeof address + 1];
  for (size_t at = 0; at < sizeof address; at++) (void)snprintf(&hex[2 * at], 3, "%02x", address.s6_addr[at]);
  return dprintf(file, "%s %02x %02x %02x %02x %8s\n", hex, interface.index, fact->prefix_bits, scope_of(&address),
                 IPV6_PERMANENT, interface.name) < 0 ? -errno : 0;
}

// The text is a file in memory, so that it has a descriptor as any other.
static FILE *open_if_inet6(const char *mode) {
  int file = memfd_create("if_inet6", strchr(mode, 'e') != NULL ? MFD_CLOEXEC : 0), error = 0;
  if (file < 0) return NULL;
  for (int index = 0; error == 0; index++) {
    struct nc_address_fact fact;
    error = nc_fact(NC_FACT_ADDRESS, index, &fact, sizeof fact);
    if (error == 0 && fact.address.family == AF_INET6) error = put_line(file, &fact);
  }
  FILE *stream = error == -ENOENT && lseek(file, 0, SEEK_SET) == 0 ? fdopen(file, mode) : NULL;
  if (stream != NULL) return stream;
  if (error != -ENOENT) errno = -error;
  int kept = errno;
  close(file);
  errno = kept;
  return NULL;
}

static bool is_virtual(const char *path, const char *mode) {
  return path != NULL && mode != NULL && mode[0] == 'r' && strcmp(path, "/proc/net/if_inet6") == 0 && nc_active();
}

NC_EXPORT FILE *fopen(const char *restrict path, const char *restrict mode) {
  if (__builtin_expect(is_virtual(path, mode), 0)) return open_if_inet6(mode);
  return nc_native()->fopen(path, mode);
}

NC_EXPORT FILE *fopen64(const char *restrict path, const char *restrict mode) {
  if (__builtin_expect(is_virtual(path, mode), 0)) return open_if_inet6(mode);
  return nc_native()->fopen64(path, mode);
}
