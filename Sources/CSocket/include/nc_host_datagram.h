// Datagram sockets of the host's: one message with what the kernel tells of it (ip(7), ipv6(7)). In C for the control
// messages; declared with plain types only, as nc_socket.h.
#ifndef NC_HOST_DATAGRAM_H
#define NC_HOST_DATAGRAM_H

#include <stddef.h>

/// What came with a datagram, or with an error about one that was sent.
struct nc_host_datagram {
  size_t bytes;               /* of the payload */
  unsigned char peer[28];     /* struct sockaddr_in or _in6: the sender; of an error: the destination it was for */
  size_t peer_bytes;
  unsigned char local[16];    /* the address it was sent to */
  size_t local_bytes;         /* 4, 16, or 0: not told */
  int hop_limit;              /* -1: not told */
  int traffic_class;          /* -1: not told */
  int error;                  /* struct sock_extended_err */
  unsigned char is_icmp, icmp_type, icmp_code;
  unsigned info;
  unsigned char teller[28];   /* of an error: who told */
  size_t teller_bytes;
};

/// Asks the kernel to tell all of the above.
void nc_host_datagram_prepare(int fd, int is_v6);

/// Receives one datagram, or (`errors`) one error, without waiting. 0 or a negated errno.
int nc_host_datagram_receive(int fd, int errors, void *payload, size_t capacity, struct nc_host_datagram *out);

/// Sends one datagram without waiting. 0 or a negated errno.
/// `source`: 4 or 16 bytes of the address to speak from, or NULL.
int nc_host_datagram_send(int fd, int is_v6, const void *peer, size_t peer_bytes, const void *source, int hop_limit,
                          int traffic_class, const void *payload, size_t bytes);

#endif
