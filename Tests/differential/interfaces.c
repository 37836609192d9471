// What a program learns of its host's interfaces: ioctl(2) requests of netdevice(7), getifaddrs(3), if_nameindex(3).
#include "differential.h"
#include <ifaddrs.h>
#include <net/if_arp.h>

static const char *const names[] = {"lo", "nc0", "nosuch0", ""};

static void say_interface_address(const char *name, const char *request_name, int fd, unsigned long request) {
  struct ifreq about = {0};
  char label[60], host[INET6_ADDRSTRLEN] = "?";
  strncpy(about.ifr_name, name, IFNAMSIZ - 1);
  snprintf(label, sizeof label, "%s of '%s'", request_name, name);
  if (ioctl(fd, request, &about) < 0) {
    say(label, "%s", errno_name(errno));
    return;
  }
  struct sockaddr_in *in = (struct sockaddr_in *)&about.ifr_addr;
  inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
  say(label, "family %d, %s", in->sin_family, host);
}

static void requests(int fd) {
  for (int i = 0; i < 4; i++) {
    struct ifreq about = {0};
    char label[60];
    say_interface_address(names[i], "SIOCGIFADDR", fd, SIOCGIFADDR);
    say_interface_address(names[i], "SIOCGIFNETMASK", fd, SIOCGIFNETMASK);
    say_interface_address(names[i], "SIOCGIFBRDADDR", fd, SIOCGIFBRDADDR);
    say_interface_address(names[i], "SIOCGIFDSTADDR", fd, SIOCGIFDSTADDR);
    strncpy(about.ifr_name, names[i], IFNAMSIZ - 1);
    snprintf(label, sizeof label, "SIOCGIFMTU of '%s'", names[i]);
    int value = ioctl(fd, SIOCGIFMTU, &about);
    value < 0 ? result(label, value) : say(label, "%d", about.ifr_mtu);
    snprintf(label, sizeof label, "SIOCGIFFLAGS of '%s'", names[i]);
    value = ioctl(fd, SIOCGIFFLAGS, &about);
    value < 0 ? result(label, value) : say(label, "%#x", about.ifr_flags & 0xffff);
    snprintf(label, sizeof label, "SIOCGIFINDEX of '%s'", names[i]);
    success(label, ioctl(fd, SIOCGIFINDEX, &about));
    snprintf(label, sizeof label, "SIOCGIFMETRIC of '%s'", names[i]);
    value = ioctl(fd, SIOCGIFMETRIC, &about);
    value < 0 ? result(label, value) : say(label, "%d", about.ifr_metric);
    snprintf(label, sizeof label, "SIOCGIFHWADDR of '%s'", names[i]);
    value = ioctl(fd, SIOCGIFHWADDR, &about);
    value < 0 ? result(label, value)
              : say(label, "family %d, %s", about.ifr_hwaddr.sa_family, about.ifr_hwaddr.sa_data[0] & 1 ? "a group" : "single");
    snprintf(label, sizeof label, "SIOCGIFTXQLEN of '%s'", names[i]);
    success(label, ioctl(fd, SIOCGIFTXQLEN, &about));
  }
  struct ifreq about = {.ifr_ifindex = 1};
  result("SIOCGIFNAME of 1", ioctl(fd, SIOCGIFNAME, &about));
  say("name", "%s", about.ifr_name);
  about.ifr_ifindex = 999;
  result("SIOCGIFNAME of 999", ioctl(fd, SIOCGIFNAME, &about));
  about.ifr_ifindex = (int)if_nametoindex("nc0");
  result("SIOCGIFNAME of nc0's", ioctl(fd, SIOCGIFNAME, &about));
  say("name", "%s", about.ifr_name);
}

static void requests_tcp_app(void) { requests(tcp(0)); }
static void requests_udp_app(void) { requests(udp(0)); }
SCENARIO_BOTH(interfaces_by_tcp, .app = requests_tcp_app);
SCENARIO_BOTH(interfaces_by_udp, .app = requests_udp_app);

static void list_app(void) {
  int fd = udp(0);
  struct ifreq list[8];
  struct ifconf all = {.ifc_len = 0, .ifc_buf = NULL};
  result("SIOCGIFCONF of no room", ioctl(fd, SIOCGIFCONF, &all));
  say("bytes wanted", "%d", all.ifc_len);
  all = (struct ifconf){.ifc_len = sizeof list, .ifc_req = list};
  result("SIOCGIFCONF", ioctl(fd, SIOCGIFCONF, &all));
  for (int i = 0; i < all.ifc_len / (int)sizeof list[0]; i++) {
    char host[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &((struct sockaddr_in *)&list[i].ifr_addr)->sin_addr, host, sizeof host);
    say(list[i].ifr_name, "%s", host);
  }
  all.ifc_len = sizeof list[0];
  result("SIOCGIFCONF of room for one", ioctl(fd, SIOCGIFCONF, &all));
  say("bytes", "%d", all.ifc_len);
}
SCENARIO_BOTH(interfaces_list, .app = list_app);

static void set_app(void) {
  int fd = udp(0);
  struct ifreq about = {.ifr_name = "nc0", .ifr_mtu = 1400};
  result("SIOCSIFMTU", ioctl(fd, SIOCSIFMTU, &about));
  result("SIOCSIFFLAGS", ioctl(fd, SIOCSIFFLAGS, &about));
  result("SIOCSIFADDR", ioctl(fd, SIOCSIFADDR, &about));
  result("SIOCSIFHWADDR", ioctl(fd, SIOCSIFHWADDR, &about));
  result("bad pointer", ioctl(fd, SIOCGIFMTU, (void *)8));
}
SCENARIO(interfaces_set_unprivileged, .app = set_app, .user = NOBODY);

static int by_text(const void *one, const void *two) { return strcmp(*(char *const *)one, *(char *const *)two); }

static void ifaddrs_app(void) {
  struct ifaddrs *all;
  char *lines[64];
  int count = 0;
  NEED(getifaddrs(&all) == 0);
  for (struct ifaddrs *one = all; one && count < 64; one = one->ifa_next) {
    char host[INET6_ADDRSTRLEN] = "-", mask[INET6_ADDRSTRLEN] = "-", broad[INET6_ADDRSTRLEN] = "-";
    int kind = one->ifa_addr ? one->ifa_addr->sa_family : -1;
    if (kind == AF_INET) {
      inet_ntop(kind, &((struct sockaddr_in *)one->ifa_addr)->sin_addr, host, sizeof host);
      inet_ntop(kind, &((struct sockaddr_in *)one->ifa_netmask)->sin_addr, mask, sizeof mask);
      if (one->ifa_flags & IFF_BROADCAST && one->ifa_broadaddr)
        inet_ntop(kind, &((struct sockaddr_in *)one->ifa_broadaddr)->sin_addr, broad, sizeof broad);
    } else if (kind == AF_INET6) {
      inet_ntop(kind, &((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr, host, sizeof host);
      inet_ntop(kind, &((struct sockaddr_in6 *)one->ifa_netmask)->sin6_addr, mask, sizeof mask);
      if (strncmp(host, "fe80", 4) == 0) strcpy(host, "link-local");
    }
    NEED(asprintf(&lines[count++], "%s, family %d, %s, mask %s, broadcast %s, flags %#x", one->ifa_name, kind, host, mask,
                  broad, one->ifa_flags & (IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_BROADCAST | IFF_MULTICAST)) > 0);
  }
  freeifaddrs(all);
  qsort(lines, count, sizeof lines[0], by_text);
  for (int i = 0; i < count; i++) say("interface", "%s", lines[i]);
  struct if_nameindex *list = if_nameindex();
  for (struct if_nameindex *one = list; one->if_index; one++) say("name", "%s", one->if_name);
  if_freenameindex(list);
  success("if_nametoindex", if_nametoindex("nc0"));
  say("if_nametoindex of none", "%u %s", if_nametoindex("nosuch0"), errno_name(errno));
  char name[IF_NAMESIZE] = "";
  say("if_indextoname", "%s", if_indextoname(if_nametoindex("nc0"), name) ? name : errno_name(errno));
  say("if_indextoname of none", "%s", if_indextoname(999, name) ? name : errno_name(errno));
}
SCENARIO(interfaces_addresses, .app = ifaddrs_app);

// What Java reads. Indices and link-local addresses are each host's own, and natively duplicates are not looked for (flag 2).
static void if_inet6_app(void) {
  FILE *file = fopen("/proc/net/if_inet6", "r");
  NEED(file != NULL);
  success("fileno", fileno(file));
  char *lines[64], line[200], hex[33], name[IFNAMSIZ];
  unsigned index, prefix, scope, flags;
  int count = 0;
  while (count < 64 && fgets(line, sizeof line, file)) {
    NEED(sscanf(line, "%32s %x %x %x %x %15s\n", hex, &index, &prefix, &scope, &flags, name) == 6);
    NEED(asprintf(&lines[count++], "%s, prefix %u, scope %#x, flags %#x, %s, %d bytes, index %s",
                  scope == 0x20 ? "link-local" : hex, prefix, scope, flags & ~2u, name, (int)strlen(line),
                  index == if_nametoindex(name) ? "as by name" : "of another") > 0);
  }
  success("fclose", fclose(file));
  qsort(lines, count, sizeof lines[0], by_text);
  for (int i = 0; i < count; i++) say("line", "%s", lines[i]);
  say("to write", "%s", fopen("/proc/net/if_inet6", "w") ? "opened" : errno_name(errno));
}
SCENARIO(interfaces_if_inet6, .app = if_inet6_app);

static void device_app(void) {
  int fd = tcp(0), port = (int)hear_value();
  result("bind to the device", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nc0", 3));
  char name[IFNAMSIZ] = "";
  socklen_t length = sizeof name;
  result("get", getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
  say("device", "%s, %d bytes", name, (int)length);
  result("connect", connect_to(fd, PEER, port));
  hear("accepted");
  tell("ready");
  fd = tcp(0);
  result("no such device", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nosuch0", 8));
  result("loopback's", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
  result("connect by loopback's", connect_to(tcp(SOCK_NONBLOCK), UNROUTED, port));
  result("unbind", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0));
  length = sizeof name;
  result("get", getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
  say("length", "%d", (int)length);
  tell("done");
}

static void device_peer(void) {
  connected_peer();
  hear("done");
}
SCENARIO_BOTH(interfaces_device, .app = device_app, .peer = device_peer);

// ---- An interface that netlink shows, and which of the two networks it belongs to is another matter

static void by_netlink_app(void) {
  NEED(system("ip link add nchost0 type veth peer name nchost1") == 0);
  FILE *list = popen("ip -o link show nchost0", "r");
  int index = 0;
  NEED(list != NULL && fscanf(list, "%d:", &index) == 1 && index > 0);
  pclose(list);
  int fd = udp(0);
  struct ifreq about = {.ifr_ifindex = index};
  result("SIOCGIFNAME", ioctl(fd, SIOCGIFNAME, &about));
  say("name", "%s", about.ifr_name);
  result("SIOCGIFINDEX", ioctl(fd, SIOCGIFINDEX, &about));
  say("index", "%s", about.ifr_ifindex == index ? "the same" : "another");
  result("SIOCGIFFLAGS", ioctl(fd, SIOCGIFFLAGS, &about));
  say("flags", "%#x", about.ifr_flags & 0xffff);
  result("SIOCGIFMTU", ioctl(fd, SIOCGIFMTU, &about));
  say("MTU", "%d", about.ifr_mtu);
  system("ip link del nchost0");
}
SCENARIO(interfaces_by_netlink, .app = by_netlink_app);
