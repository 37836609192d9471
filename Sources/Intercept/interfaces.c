// The ioctls of netdevice(7): what a program may ask of the virtual interfaces. Changing them is the network's file's.
#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <string.h>

#include "facts.h"

enum { QUEUE_LENGTH = 1000 /* what Linux gives to an Ethernet and to lo */ };

static void put(struct sockaddr *target, const struct nc_address *address) {
  socklen_t room = sizeof *target;
  nc_address_write(AF_INET, address, target, &room);
}

// The `skip`th IPv4 address of an interface, or of any where `interface` is 0.
static int find_v4(uint32_t interface, int skip, struct nc_address_fact *fact) {
  for (int index = 0;; index++) {
    int error = nc_fact(NC_FACT_ADDRESS, index, fact, sizeof *fact);
    if (error != 0) return error == -ENOENT ? -EADDRNOTAVAIL : error;
    if (fact->address.family != AF_INET || (interface != 0 && fact->interface != interface)) continue;
    if (skip-- == 0) return 0;
  }
}

// SIOCGIFCONF: the IPv4 addresses with their interfaces' names; without a buffer, how large one must be.
static int configuration(struct ifconf *list) {
  int room = list->ifc_req == NULL ? 0 : list->ifc_len / (int)sizeof *list->ifc_req, count = 0;
  for (;; count++) {
    struct nc_address_fact fact;
    struct nc_interface_fact interface;
    int error = find_v4(0, count, &fact);
    if (error == -EADDRNOTAVAIL) break;
    if (error == 0) error = nc_interface_numbered(fact.interface, &interface);
    if (error != 0) return error;
    if (list->ifc_req == NULL) continue;
    if (count == room) break;
    struct ifreq *entry = &list->ifc_req[count];
    memset(entry, 0, sizeof *entry);
    memcpy(entry->ifr_name, interface.name, IFNAMSIZ);
    put(&entry->ifr_addr, &fact.address);
  }
  list->ifc_len = count * (int)sizeof *list->ifc_req;
  return 0;
}

static int address(unsigned long request, uint32_t interface, struct ifreq *argument) {
  struct nc_address_fact fact;
  int error = find_v4(interface, 0, &fact);
  if (error != 0) return error;
  struct nc_address none = {.family = AF_INET}, mask = none;
  for (uint32_t bit = 0; bit < fact.prefix_bits; bit++) mask.bytes[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
  switch (request) {
  case SIOCGIFNETMASK: put(&argument->ifr_netmask, &mask); return 0;
  case SIOCGIFBRDADDR: put(&argument->ifr_broadaddr, fact.broadcast.family != 0 ? &fact.broadcast : &none); return 0;
  default: put(&argument->ifr_addr, &fact.address); return 0; // SIOCGIFDSTADDR too: no point-to-point link here
  }
}

// An interface that only the host has. Programs that list interfaces by netlink, which shows the host's, ask for each one's
// name and flags next, and some give up where one of them is not there (dnsmasq). Its addresses stay unknown.
static int ask_host(unsigned long request, struct ifreq *argument) {
  if (request != SIOCGIFNAME && request != SIOCGIFINDEX && request != SIOCGIFFLAGS && request != SIOCGIFMTU) return -ENODEV;
  int fd = (int)nc_raw(SYS_socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0, 0, 0);
  if (fd < 0) return -ENODEV;
  int result = (int)nc_raw(SYS_ioctl, fd, (long)request, (long)argument, 0, 0, 0);
  nc_raw_close(fd);
  return result;
}

static int ask(unsigned long request, struct ifreq *argument) {
  struct nc_interface_fact interface;
  char name[IFNAMSIZ];
  memcpy(name, argument->ifr_name, sizeof name);
  name[IFNAMSIZ - 1] = 0;
  int error = request == SIOCGIFNAME ? nc_interface_numbered((uint32_t)argument->ifr_ifindex, &interface)
                                     : nc_interface_named(name, &interface);
  if (error == -ENODEV) return ask_host(request, argument);
  if (error != 0) return error;
  switch (request) {
  case SIOCGIFNAME: memcpy(argument->ifr_name, interface.name, IFNAMSIZ); return 0;
  case SIOCGIFINDEX: argument->ifr_ifindex = (int)interface.index; return 0;
  case SIOCGIFFLAGS: argument->ifr_flags = (short)interface.flags; return 0;
  case SIOCGIFMTU: argument->ifr_mtu = (int)interface.mtu; return 0;
  case SIOCGIFTXQLEN: argument->ifr_qlen = QUEUE_LENGTH; return 0;
  case SIOCGIFMETRIC: argument->ifr_metric = 0; return 0;
  case SIOCGIFMAP: memset(&argument->ifr_map, 0, sizeof argument->ifr_map); return 0;
  case SIOCGIFHWADDR:
    memset(&argument->ifr_hwaddr, 0, sizeof argument->ifr_hwaddr);
    argument->ifr_hwaddr.sa_family = (interface.flags & IFF_LOOPBACK) != 0 ? ARPHRD_LOOPBACK : ARPHRD_ETHER;
    memcpy(argument->ifr_hwaddr.sa_data, interface.hardware, sizeof interface.hardware);
    return 0;
  default: return address(request, interface.index, argument);
  }
}

// Those about IPv4 addresses are AF_INET's (devinet_ioctl); a socket of AF_INET6 passes them on to nobody.
static bool is_about_v4(unsigned long request) {
  return request == SIOCGIFADDR || request == SIOCGIFDSTADDR || request == SIOCGIFBRDADDR || request == SIOCGIFNETMASK;
}

bool nc_interface_ioctl(int family, unsigned long request, void *argument, int *result) {
  if (family == AF_INET6 && is_about_v4(request)) return false;
  switch (request) {
  case SIOCGIFCONF: *result = argument == NULL ? -EFAULT : configuration(argument); return true;
  case SIOCGIFNAME:
  case SIOCGIFINDEX:
  case SIOCGIFFLAGS:
  case SIOCGIFMTU:
  case SIOCGIFTXQLEN:
  case SIOCGIFMETRIC:
  case SIOCGIFMAP:
  case SIOCGIFHWADDR:
  case SIOCGIFADDR:
  case SIOCGIFDSTADDR:
  case SIOCGIFBRDADDR:
  case SIOCGIFNETMASK: *result = argument == NULL ? -EFAULT : ask(request, argument); return true;
  case SIOCSIFLINK:
  case SIOCSIFFLAGS:
  case SIOCSIFADDR:
  case SIOCSIFDSTADDR:
  case SIOCSIFBRDADDR:
  case SIOCSIFNETMASK:
  case SIOCSIFMETRIC:
  case SIOCSIFMTU:
  case SIOCSIFNAME:
  case SIOCSIFHWADDR:
  case SIOCSIFHWBROADCAST:
  case SIOCSIFPFLAGS:
  case SIOCSIFTXQLEN:
  case SIOCSIFMAP:
  case SIOCDIFADDR:
  case SIOCADDMULTI:
  case SIOCDELMULTI:
  case SIOCADDRT:
  case SIOCDELRT:
  case SIOCSARP:
  case SIOCDARP: *result = -EPERM; return true;
  case SIOCETHTOOL: *result = -EOPNOTSUPP; return true;
  default: return false;
  }
}
