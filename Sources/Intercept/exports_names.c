// The interposed symbols that tell of interfaces and names: glibc answers them inside itself, from the host.
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exports.h"
#include "facts.h"
#include "resolve.h"

// Interfaces

NC_EXPORT int getifaddrs(struct ifaddrs **list) {
  if (!nc_active()) return nc_native()->getifaddrs(list);
  return (int)finish(nc_getifaddrs(list));
}

NC_EXPORT struct if_nameindex *if_nameindex(void) {
  if (!nc_active()) return nc_native()->if_nameindex();
  struct if_nameindex *list = NULL;
  return finish(nc_if_nameindex(&list)) == 0 ? list : NULL;
}

NC_EXPORT unsigned if_nametoindex(const char *name) {
  if (!nc_active()) return nc_native()->if_nametoindex(name);
  struct nc_interface_fact interface;
  return finish(nc_interface_named(name, &interface)) == 0 ? interface.index : 0;
}

NC_EXPORT char *if_indextoname(unsigned index, char name[IF_NAMESIZE]) {
  if (!nc_active()) return nc_native()->if_indextoname(index, name);
  struct nc_interface_fact interface;
  int error = nc_interface_numbered(index, &interface);
  if (finish(error == -ENODEV ? -ENXIO : error) != 0) return NULL;
  memcpy(name, interface.name, IFNAMSIZ);
  return name;
}

// getaddrinfo and getnameinfo

NC_EXPORT int getaddrinfo(const char *restrict node, const char *restrict service,
                          const struct addrinfo *restrict hints, struct addrinfo **restrict result) {
  if (!nc_active()) return nc_native()->getaddrinfo(node, service, hints, result);
  return nc_getaddrinfo(node, service, hints, result);
}

NC_EXPORT int getnameinfo(const struct sockaddr *restrict address, socklen_t length, char *restrict host,
                          socklen_t host_bytes, char *restrict service, socklen_t service_bytes, int flags) {
  if (!nc_active())
    return nc_native()->getnameinfo(address, length, host, host_bytes, service, service_bytes, flags);
  return nc_getnameinfo(address, length, host, host_bytes, service, service_bytes, flags);
}

static void *notify(void *argument) {
  struct sigevent event = *(struct sigevent *)argument;
  free(argument);
  event.sigev_notify_function(event.sigev_value);
  return NULL;
}

// libc's threads for getaddrinfo_a() call its own getaddrinfo(). Here all is done when the call returns, GAI_NOWAIT or
// not: gai_error() and gai_suspend() then find the requests finished.
NC_EXPORT int getaddrinfo_a(int mode, struct gaicb *list[restrict], int count, struct sigevent *restrict event) {
  if (!nc_active()) return nc_native()->getaddrinfo_a(mode, list, count, event);
  if (mode != GAI_WAIT && mode != GAI_NOWAIT) {
    errno = EINVAL;
    return EAI_SYSTEM;
  }
  for (int index = 0; index < count; index++) {
    struct gaicb *request = list[index];
    if (request == NULL) continue;
    request->__return = nc_getaddrinfo(request->ar_name, request->ar_service, request->ar_request, &request->ar_result);
  }
  if (mode == GAI_WAIT || event == NULL || event->sigev_notify == SIGEV_NONE) return 0;
  if (event->sigev_notify == SIGEV_SIGNAL) {
    (void)sigqueue(getpid(), event->sigev_signo, event->sigev_value);
    return 0;
  }
  struct sigevent *copy = malloc(sizeof *copy);
  pthread_t thread;
  if (copy == NULL) return EAI_MEMORY;
  *copy = *event;
  if (pthread_create(&thread, event->sigev_notify_attributes, notify, copy) != 0) {
    free(copy);
    return EAI_AGAIN;
  }
  (void)pthread_detach(thread);
  return 0;
}

// gethostbyname and its kin

NC_EXPORT int gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict entry,
                               char *restrict buffer, size_t bytes, struct hostent **restrict result,
                               int *restrict error) {
  if (!nc_active()) return nc_native()->gethostbyname2_r(name, family, entry, buffer, bytes, result, error);
  return nc_gethostbyname(name, family, entry, buffer, bytes, result, error);
}

NC_EXPORT int gethostbyname_r(const char *restrict name, struct hostent *restrict entry, char *restrict buffer,
                              size_t bytes, struct hostent **restrict result, int *restrict error) {
  if (!nc_active()) return nc_native()->gethostbyname_r(name, entry, buffer, bytes, result, error);
  return nc_gethostbyname(name, AF_INET, entry, buffer, bytes, result, error);
}

NC_EXPORT int gethostbyaddr_r(const void *restrict address, socklen_t length, int family,
                              struct hostent *restrict entry, char *restrict buffer, size_t bytes,
                              struct hostent **restrict result, int *restrict error) {
  if (!nc_active()) return nc_native()->gethostbyaddr_r(address, length, family, entry, buffer, bytes, result, error);
  return nc_gethostbyaddr(address, length, family, entry, buffer, bytes, result, error);
}

// The result of the calls without a buffer, until the next of them. A thread takes it while it works, so that two at
// once never write to the same; the result of the first is then not kept for reuse, nor freed.
static struct kept {
  struct hostent entry;
  size_t bytes;
  _Alignas(16) char buffer[];
} *kept;

typedef int (*look_up)(const void *key, socklen_t length, int family, struct kept *kept, struct hostent **result);

static int by_name(const void *key, socklen_t length, int family, struct kept *memory, struct hostent **result) {
  (void)length;
  return nc_gethostbyname(key, family, &memory->entry, memory->buffer, memory->bytes, result, &h_errno);
}

static int by_address(const void *key, socklen_t length, int family, struct kept *memory, struct hostent **result) {
  return nc_gethostbyaddr(key, length, family, &memory->entry, memory->buffer, memory->bytes, result, &h_errno);
}

static struct hostent *look_up_kept(look_up look_up, const void *key, socklen_t length, int family) {
  struct kept *memory = __atomic_exchange_n(&kept, NULL, __ATOMIC_ACQ_REL);
  struct hostent *result = NULL;
  size_t bytes = memory == NULL ? 2048 : memory->bytes;
  for (;;) {
    if (memory == NULL || memory->bytes < bytes) {
      struct kept *larger = realloc(memory, sizeof *memory + bytes);
      if (larger == NULL) {
        h_errno = NETDB_INTERNAL;
        break;
      }
      memory = larger;
      memory->bytes = bytes;
    }
    int error = look_up(key, length, family, memory, &result);
    if (error == ERANGE) {
      bytes *= 2;
      continue;
    }
    if (error != 0 && h_errno == NETDB_INTERNAL) errno = error;
    break;
  }
  __atomic_store_n(&kept, memory, __ATOMIC_RELEASE);
  return result;
}

NC_EXPORT struct hostent *gethostbyname2(const char *name, int family) {
  if (!nc_active()) return nc_native()->gethostbyname2(name, family);
  return look_up_kept(by_name, name, 0, family);
}

NC_EXPORT struct hostent *gethostbyname(const char *name) {
  if (!nc_active()) return nc_native()->gethostbyname(name);
  return look_up_kept(by_name, name, 0, AF_INET);
}

NC_EXPORT struct hostent *gethostbyaddr(const void *address, socklen_t length, int family) {
  if (!nc_active()) return nc_native()->gethostbyaddr(address, length, family);
  return look_up_kept(by_address, address, length, family);
}
