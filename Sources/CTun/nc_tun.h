// TUN/TAP and interface requests as functions: ioctl(2) is variadic, and its requests are macros; Swift imports neither.
#ifndef NC_TUN_H
#define NC_TUN_H

#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline struct ifreq nc_interface_request(const char *name) {
  struct ifreq request;
  memset(&request, 0, sizeof request);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  return request;
}

/// Attaches `fd` (of /dev/net/tun) to the TAP `name` with offload headers; -1 and errno on failure.
static inline int nc_tap_attach(int fd, const char *name) {
  struct ifreq request = nc_interface_request(name);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  return ioctl(fd, TUNSETIFF, &request);
}

static inline int nc_tap_set_header_bytes(int fd, int bytes) { return ioctl(fd, TUNSETVNETHDRSZ, &bytes); }
static inline int nc_tap_set_offload(int fd, unsigned flags) { return ioctl(fd, TUNSETOFFLOAD, (unsigned long)flags); }

/// Whether the device stays when nobody has it open; -1 and errno on failure.
static inline int nc_tap_is_persistent(int fd) {
  struct ifreq request = nc_interface_request("");
  return ioctl(fd, TUNGETIFF, &request) == 0 ? (request.ifr_flags & IFF_PERSIST) != 0 : -1;
}

/// Six bytes; -1 and errno on failure.
static inline int nc_tap_hardware_address(int fd, unsigned char *bytes) {
  struct ifreq request = nc_interface_request("");
  if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) return -1;
  memcpy(bytes, request.ifr_hwaddr.sa_data, 6);
  return 0;
}

/// The number of the CPU that this runs on (getcpu(2)); -1 on failure.
static inline int nc_current_cpu(void) {
  unsigned cpu;
  return syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 ? (int)cpu : -1;
}

/// The MTU of interface `name`, in bytes; -1 and errno on failure. `socket` is any socket of the network namespace.
static inline int nc_interface_mtu(int socket, const char *name) {
  struct ifreq request = nc_interface_request(name);
  return ioctl(socket, SIOCGIFMTU, &request) == 0 ? request.ifr_mtu : -1;
}

static inline int nc_interface_set_mtu(int socket, const char *name, int mtu) {
  struct ifreq request = nc_interface_request(name);
  request.ifr_mtu = mtu;
  return ioctl(socket, SIOCSIFMTU, &request);
}

/// How many packets may wait for the program; -1 and errno on failure.
static inline int nc_interface_queue_length(int socket, const char *name) {
  struct ifreq request = nc_interface_request(name);
  return ioctl(socket, SIOCGIFTXQLEN, &request) == 0 ? request.ifr_qlen : -1;
}

static inline int nc_interface_set_queue_length(int socket, const char *name, int packets) {
  struct ifreq request = nc_interface_request(name);
  request.ifr_qlen = packets;
  return ioctl(socket, SIOCSIFTXQLEN, &request);
}

static inline int nc_interface_bring_up(int socket, const char *name) {
  struct ifreq request = nc_interface_request(name);
  if (ioctl(socket, SIOCGIFFLAGS, &request) != 0) return -1;
  request.ifr_flags |= IFF_UP;
  return ioctl(socket, SIOCSIFFLAGS, &request);
}

#endif
