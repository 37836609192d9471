// Messages to the user, on stderr. Bare writev: it may be called with locks held and signals blocked.
#include <string.h>
#include <sys/uio.h>

#include "intercept.h"

static unsigned char reported[NC_REPORT_VERSION + 1];

static size_t append(char *text, size_t used, size_t room, const char *more) {
  size_t bytes = strlen(more);
  if (bytes > room - used) bytes = room - used;
  memcpy(text + used, more, bytes);
  return used + bytes;
}

static const char *decimal(unsigned value, char buffer[11]) {
  char *digit = buffer + 10;
  *digit = 0;
  do *--digit = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  return digit;
}

void nc_say(struct iovec *pieces, int count) {
  struct nc_name name;
  // Started as by inetd, or with its standard fds closed, a program may have a connection as 2: the peer is not to read
  // this.
  if (!nc_identify(2, &name)) (void)nc_raw(SYS_writev, 2, (long)pieces, count, 0, 0, 0);
}

void nc_report(enum nc_report kind, unsigned detail) {
  if (__atomic_exchange_n(&reported[kind], 1, __ATOMIC_RELAXED) != 0) return;
  char text[640], digits[11];
  const size_t room = sizeof text;
  size_t used = append(text, 0, room, "netcond: ");
  const char *path = nc_network_path();
  switch (kind) {
  case NC_REPORT_ABSENT:
    used = append(text, used, room, "no daemon answers at ");
    used = append(text, used, room, path);
    used = append(text, used, room, ": start netcond (or set ZT_NC_NETWORK to the nc_ socket of a running one, or "
                                    "unset it to use the host's network); sockets fail with ENETDOWN until then\n");
    break;
  case NC_REPORT_DENIED:
    used = append(text, used, room, "no permission to use ");
    used = append(text, used, room, path);
    used = append(text, used, room, ": run as a user or group that may write to that socket, or change its mode; "
                                    "sockets fail with ENETDOWN until then\n");
    break;
  case NC_REPORT_SILENT:
    used = append(text, used, room, "the daemon at ");
    used = append(text, used, room, path);
    used = append(text, used, room, " gave no valid answer within 5 seconds: look at its log, restart it; "
                                    "sockets fail with ENETDOWN until then\n");
    break;
  case NC_REPORT_VERSION:
    used = append(text, used, room, "the daemon at ");
    used = append(text, used, room, path);
    used = append(text, used, room, " speaks RPC version ");
    used = append(text, used, room, decimal(detail, digits));
    used = append(text, used, room, ", this libzerotierintercept.so version ");
    used = append(text, used, room, decimal(NC_RPC_VERSION, digits));
    used = append(text, used, room, ": install both from one release and restart the daemon; "
                                    "sockets fail with EPROTONOSUPPORT until then\n");
    break;
  }
  struct iovec line = {.iov_base = text, .iov_len = used};
  nc_say(&line, 1);
}
