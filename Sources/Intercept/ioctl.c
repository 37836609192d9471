// ioctl() on a virtual socket (tcp(7), udp(7), socket(7)): how much is queued, and what is native.
//
// Native: what concerns the file (FIONBIO, FIOASYNC, FIOCLEX, owners of signals), and the bytes to read from a stream. The
// bytes to send are the daemon's to count: those in the pair and those in its stack. What asks about interfaces is answered
// from the network; what is left of the kernel's network configuration is not there, for it would be the host's.
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "intercept.h"

enum {
  NETWORK_BEGIN = 0x890b, /* SIOCADDRT: the first request of sockios.h that is no file's */
  NETWORK_END = 0x8c00,   /* past those of wireless devices */
};

static int give(int number, void *argument) {
  if (argument == NULL) return -EFAULT;
  memcpy(argument, &number, sizeof number);
  return 0;
}

// SIOCINQ: a stream's is native, a datagram socket's is the size of the next datagram.
static int readable_bytes(int fd, const struct nc_name *name, void *argument) {
  if (name->state == NC_STATE_LISTENING) return -EINVAL;
  if (name->state == NC_STATE_DATAGRAM) return give(nc_datagram_next_bytes(fd), argument);
  return (int)nc_raw(SYS_ioctl, fd, FIONREAD, (long)argument, 0, 0, 0);
}

// SIOCOUTQ: what the peer has not acknowledged; SIOCOUTQNSD: what was not sent at all. A datagram is on its way at once.
static int unsent_bytes(int fd, const struct nc_name *name, bool only_unsent, void *argument) {
  if (name->state == NC_STATE_LISTENING) return -EINVAL;
  if (name->state != NC_STATE_CONNECTED) return give(0, argument);
  struct nc_request request = {.op = NC_OP_QUEUED};
  struct nc_reply reply;
  // Where the daemon knows no connection it has ended, or joins two programs directly: nothing is on its way.
  int error = nc_rpc(&request, fd, &reply, NULL, false);
  return give(error == 0 ? reply.argument[only_unsent ? 1 : 0] : 0, argument);
}

// SIOCATMARK: whether the next byte is the urgent one. Kernels whose unix sockets know no urgent data have none.
static int at_mark(int fd, const struct nc_name *name, void *argument) {
  if (name->state == NC_STATE_LISTENING) return -EINVAL;
  int result = (int)nc_raw(SYS_ioctl, fd, SIOCATMARK, (long)argument, 0, 0, 0);
  return result == 0 || result == -EFAULT ? result : give(0, argument);
}

int nc_ioctl(int fd, const struct nc_name *name, unsigned long request, void *argument) {
  request &= 0xffffffff; // the kernel looks at 32 bits
  bool is_stream = name->state != NC_STATE_DATAGRAM;
  switch (request) {
  case SIOCINQ: return readable_bytes(fd, name, argument);
  case SIOCOUTQ: return unsent_bytes(fd, name, false, argument);
  case SIOCOUTQNSD:
    if (is_stream) return unsent_bytes(fd, name, true, argument);
    break;
  case SIOCATMARK:
    if (is_stream) return at_mark(fd, name, argument);
    return -ENOTTY;
  case SIOCGSTAMP_OLD:
  case SIOCGSTAMPNS_OLD:
  case SIOCGSTAMP_NEW:
  case SIOCGSTAMPNS_NEW: return -ENOENT; // no packet was stamped: SO_TIMESTAMP is the way
  default: break;
  }
  if (request >= NETWORK_BEGIN && request < NETWORK_END) {
    int result;
    return nc_interface_ioctl(name->family, request, argument, &result) ? result : -ENOTTY; // as what no device has
  }
  return (int)nc_raw(SYS_ioctl, fd, (long)request, (long)argument, 0, 0, 0);
}
