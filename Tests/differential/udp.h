// Shared by the UDP scenarios (udp.c has the bodies).
#ifndef DIFFERENTIAL_UDP_H
#define DIFFERENTIAL_UDP_H

#include "differential.h"

// A datagram socket bound to the peer's address, its port told to the app.
int peer_socket(void);
// The app's socket, unbound, and the port that `peer_socket` told, named "server".
int app_socket(int *port);
ssize_t send_to(int fd, const void *bytes, size_t count, enum host host, int port);
// Receives one datagram and tells its size, bytes (up to 20) and sender.
void say_datagram(const char *label, int fd, int flags);
// Answers each datagram with the same bytes, to whoever sent it, until `stop_echo`.
void echo_peer(void);
void stop_echo(int port);

#endif
