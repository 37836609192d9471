// Between struct sockaddr_in / sockaddr_in6 and the protocol's struct nc_address.
//
// An IPv6 socket that speaks IPv4 shows v4-mapped addresses (RFC 4291, 2.5.5.2) to the app; the protocol carries those
// as plain AF_INET addresses, in both directions.
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "intercept.h"

// Linux takes a sockaddr_in6 without its scope (SIN6_LEN_RFC2133).
static const socklen_t shortest_in6 = offsetof(struct sockaddr_in6, sin6_scope_id);

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

int nc_address_read(int family, const struct sockaddr *source, socklen_t length, struct nc_address *address) {
  memset(address, 0, sizeof *address);
  if (family == AF_INET) {
    struct sockaddr_in in;
    if (length < sizeof in) return -EINVAL;
    memcpy(&in, source, sizeof in);
    if (in.sin_family != AF_INET) return -EAFNOSUPPORT;
    address->family = AF_INET;
    address->port = in.sin_port;
    memcpy(address->bytes, &in.sin_addr, 4);
    return 0;
  }
  struct sockaddr_in6 in6 = {0};
  if (length < shortest_in6) return -EINVAL;
  memcpy(&in6, source, length < sizeof in6 ? shortest_in6 : sizeof in6);
  if (in6.sin6_family != AF_INET6) return -EAFNOSUPPORT;
  address->port = in6.sin6_port;
  if (memcmp(&in6.sin6_addr, mapped_prefix, sizeof mapped_prefix) == 0) {
    address->family = AF_INET;
    memcpy(address->bytes, in6.sin6_addr.s6_addr + sizeof mapped_prefix, 4);
  } else {
    address->family = AF_INET6;
    address->scope_id = in6.sin6_scope_id;
    memcpy(address->bytes, &in6.sin6_addr, 16);
  }
  return 0;
}

int nc_address_copy(const struct sockaddr *source, socklen_t length, struct sockaddr_storage *copy) {
  if ((int)length < 0 || length > sizeof *copy) return -EINVAL;
  memset(copy, 0, sizeof *copy);
  if (length == 0) return 0;
  // The kernel reads it for us, so that a bad pointer is EFAULT and no crash.
  struct iovec from = {.iov_base = (void *)source, .iov_len = length}, to = {.iov_base = copy, .iov_len = length};
  long pid = nc_raw(SYS_getpid, 0, 0, 0, 0, 0, 0);
  long bytes = nc_raw(SYS_process_vm_readv, pid, (long)&to, 1, (long)&from, 1, 0);
  if (bytes == (long)length) return 0;
  if (bytes >= 0 || bytes == -EFAULT) return -EFAULT;
  memcpy(copy, source, length); // forbidden to this program (seccomp)
  return 0;
}

int nc_address_check_room(const struct sockaddr *target, const socklen_t *length) {
  if (length == NULL) return -EFAULT;
  if ((int)*length < 0) return -EINVAL;
  if (target == NULL && *length != 0) return -EFAULT;
  return 0;
}

void nc_address_write(int family, const struct nc_address *address, struct sockaddr *target, socklen_t *length) {
  union {
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
  } full;
  memset(&full, 0, sizeof full);
  socklen_t bytes;
  if (family == AF_INET) {
    bytes = sizeof full.in;
    full.in.sin_family = AF_INET;
    full.in.sin_port = address->port;
    memcpy(&full.in.sin_addr, address->bytes, 4);
  } else {
    bytes = sizeof full.in6;
    full.in6.sin6_family = AF_INET6;
    full.in6.sin6_port = address->port;
    if (address->family == AF_INET) {
      memcpy(full.in6.sin6_addr.s6_addr, mapped_prefix, sizeof mapped_prefix);
      memcpy(full.in6.sin6_addr.s6_addr + sizeof mapped_prefix, address->bytes, 4);
    } else {
      full.in6.sin6_scope_id = address->scope_id;
      memcpy(&full.in6.sin6_addr, address->bytes, 16);
    }
  }
  socklen_t room = *length;
  if (room > 0) memcpy(target, &full, room < bytes ? room : bytes);
  *length = bytes;
}
