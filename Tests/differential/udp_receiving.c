// Who gets a datagram: beyond the buffer, by SO_REUSEPORT, by broadcast.
#include "udp.h"

static void overflow_app(void) {
  int fd = udp(0);
  NEED(bind_to(fd, APP, 0) == 0);
  set_option(fd, SOL_SOCKET, SO_RCVBUF, 20000);
  tell_value(port_of(fd));
  hear("sent");
  static char bytes[2000];
  int count = 0, last = -1, ordered = 1;
  while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == 1000) {
    int number;
    memcpy(&number, bytes, sizeof number);
    ordered &= number > last;
    last = number;
    count++;
  }
  say("some", "%s", count > 5 ? "yes" : "no");
  say("not all", "%s", count < 400 ? "yes" : "no");
  say("in order", "%s", ordered ? "yes" : "no");
  tell("again");
  say_recv("goes on", fd, 0);
}

static void overflow_peer(void) {
  int fd = udp(0), port = (int)hear_value();
  static char bytes[1000];
  for (int i = 0; i < 400; i++) {
    memcpy(bytes, &i, sizeof i);
    send_to(fd, bytes, sizeof bytes, APP, port);
  }
  usleep(200000);
  tell("sent");
  hear("again");
  NEED(send_to(fd, "after", 5, APP, port) == 5);
}
SCENARIO_BOTH(udp_overflow, .app = overflow_app, .peer = overflow_peer);

// Two sockets of one port by SO_REUSEPORT share what comes.
static void reuseport_app(void) {
  int one = udp(SOCK_NONBLOCK), two = udp(SOCK_NONBLOCK), counts[2] = {0};
  set_option(one, SOL_SOCKET, SO_REUSEPORT, 1);
  set_option(two, SOL_SOCKET, SO_REUSEPORT, 1);
  NEED(bind_to(one, APP, 0) == 0);
  result("bind the second", bind_to(two, APP, port_of(one)));
  tell_value(port_of(one));
  struct pollfd both[2] = {{.fd = one, .events = POLLIN}, {.fd = two, .events = POLLIN}};
  while (counts[0] + counts[1] < 40 && poll(both, 2, 2000) > 0)
    for (int i = 0; i < 2; i++) counts[i] += recv(both[i].fd, &(char){0}, 1, 0) == 1;
  say("all", "%d", counts[0] + counts[1]);
  say("each has some", "%s", counts[0] > 0 && counts[1] > 0 ? "yes" : "no");
}

static void reuseport_peer(void) {
  int port = (int)hear_value();
  for (int i = 0; i < 40; i++) {
    int fd = udp(0); // another port each time
    NEED(send_to(fd, "x", 1, APP, port) == 1);
  }
}
SCENARIO_BOTH(udp_reuseport, .app = reuseport_app, .peer = reuseport_peer);

static void broadcast_app(void) {
  int port, fd = app_socket(&port);
  struct address to = at(PEER, port);
  static const char *const hosts[] = {"255.255.255.255", "10.80.0.255"};
  for (int i = 0; i < 2; i++) {
    inet_pton(AF_INET, hosts[i], &to.v4.sin_addr);
    result("sendto without SO_BROADCAST", sendto(fd, "x", 1, 0, &to.sa, to.length));
    result("connect without SO_BROADCAST", connect(udp(0), &to.sa, to.length));
  }
  result("SO_BROADCAST", set_option(fd, SOL_SOCKET, SO_BROADCAST, 1));
  inet_pton(AF_INET, hosts[1], &to.v4.sin_addr);
  result("to the subnet", sendto(fd, "subnet", 6, 0, &to.sa, to.length));
  result("SO_BINDTODEVICE", set_option(fd, SOL_SOCKET, SO_BINDTODEVICE, 0));
  tell("sent");
  hear("seen");
  int receiver = udp(0);
  NEED(bind_to(receiver, ANY, 0) == 0);
  tell_value(port_of(receiver));
  say_datagram("a broadcast", receiver, 0);
  tell("done");
}

static void broadcast_peer(void) {
  int fd = udp(0);
  NEED(bind_to(fd, ANY, 0) == 0);
  tell_value(port_of(fd));
  hear("sent");
  say_recv("recv", fd, 0);
  tell("seen");
  set_option(fd, SOL_SOCKET, SO_BROADCAST, 1);
  struct address to = at(ANY, (int)hear_value());
  inet_pton(AF_INET, "10.80.0.255", &to.v4.sin_addr);
  NEED(sendto(fd, "hello", 5, 0, &to.sa, to.length) == 5);
  hear("done");
}
SCENARIO(udp_broadcast, .app = broadcast_app, .peer = broadcast_peer);
