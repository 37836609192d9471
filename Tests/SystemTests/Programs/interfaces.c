// Prints what getifaddrs() lists: name, family, address, netmask, broadcast address, scope.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdio.h>

static const char *text(const struct sockaddr *address, char *buffer) {
  if (address == NULL) return "-";
  const void *bytes = address->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                                                    : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
  return inet_ntop(address->sa_family, bytes, buffer, INET6_ADDRSTRLEN);
}

int main(void) {
  struct ifaddrs *list;
  if (getifaddrs(&list) != 0) {
    perror("getifaddrs");
    return 1;
  }
  for (const struct ifaddrs *at = list; at != NULL; at = at->ifa_next) {
    char address[INET6_ADDRSTRLEN], mask[INET6_ADDRSTRLEN], other[INET6_ADDRSTRLEN];
    if (at->ifa_addr->sa_family == AF_PACKET) {
      const struct sockaddr_ll *packet = (const struct sockaddr_ll *)at->ifa_addr;
      printf("%s packet %d %u\n", at->ifa_name, packet->sll_ifindex, packet->sll_halen);
      continue;
    }
    int is_v6 = at->ifa_addr->sa_family == AF_INET6;
    printf("%s %s %s %s %s %u\n", at->ifa_name, is_v6 ? "inet6" : "inet", text(at->ifa_addr, address),
           text(at->ifa_netmask, mask), text(at->ifa_broadaddr, other),
           is_v6 ? ((const struct sockaddr_in6 *)at->ifa_addr)->sin6_scope_id : 0);
  }
  freeifaddrs(list);
  return 0;
}
