// Unprivileged ICMP sockets (SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6): what ping(8) does without privilege.
#include "differential.h"

struct echo {
  uint8_t type, code;
  uint16_t checksum, identifier, sequence;
  char text[56];
};

static int ping_socket(void) {
  return socket(family, SOCK_DGRAM, family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

static int request_type(void) { return family == AF_INET ? 8 : 128; }

static ssize_t send_request(int fd, enum host host, int sequence, size_t length) {
  struct echo echo = {.type = (uint8_t)request_type(), .identifier = htons(4711), .sequence = htons((uint16_t)sequence)};
  memcpy(echo.text, "ping", 4);
  struct address to = at(host, 0);
  return sendto(fd, &echo, length, 0, &to.sa, to.length);
}

static void say_answer(const char *label, int fd, int identifier) {
  struct echo echo;
  memset(&echo, 0, sizeof echo);
  struct address from = {.length = sizeof from.storage};
  ssize_t count = recvfrom(fd, &echo, sizeof echo, MSG_DONTWAIT, &from.sa, &from.length);
  if (count < 0) {
    say(label, "%s", errno_name(errno));
    return;
  }
  say(label, "%zd, type %d, code %d, sequence %d, \"%.4s\"", count, echo.type, echo.code, ntohs(echo.sequence), echo.text);
  say("identifier is the socket's", "%s", ntohs(echo.identifier) == identifier ? "yes" : "no");
  say_address("from", &from.storage, from.length);
}

static void echo_app(void) {
  int fd = ping_socket();
  success("socket", fd);
  say_local("local before", fd);
  say_option("SO_TYPE", fd, SOL_SOCKET, SO_TYPE);
  say_option("SO_PROTOCOL", fd, SOL_SOCKET, SO_PROTOCOL);
  result("request", send_request(fd, PEER, 1, 64));
  int identifier = port_of(fd);
  say("identifier is there", "%s", identifier > 0 ? "yes" : "no");
  say_poll("poll", fd, POLLIN);
  say_answer("answer", fd, identifier);
  say_answer("none left", fd, identifier);
  result("short request", send_request(fd, PEER, 2, 8));
  say_poll("poll", fd, POLLIN);
  say_answer("short answer", fd, identifier);
  result("too short", send_request(fd, PEER, 3, 7));
  result("to ourselves", send_request(fd, APP, 4, 64));
  say_poll("poll", fd, POLLIN);
  say_answer("our answer", fd, identifier);
  result("to loopback", send_request(fd, LOOPBACK, 5, 64));
  say_poll("poll", fd, POLLIN);
  say_answer("loopback's answer", fd, identifier);
  result("unrouted", send_request(fd, UNROUTED, 6, 64));
  struct echo other = {.type = family == AF_INET ? 13 : 129};
  struct address to = at(PEER, 0);
  result("another type", sendto(fd, &other, 16, 0, &to.sa, to.length));
  other.type = (uint8_t)request_type();
  other.code = 1;
  result("another code", sendto(fd, &other, 16, 0, &to.sa, to.length));
  result("without an address", send(fd, &other, 16, 0));
}
SCENARIO_BOTH(icmp_echo, .app = echo_app);
SCENARIO_BOTH(icmp_echo_unprivileged, .app = echo_app, .user = NOBODY);

static void connected_app_side(void) {
  int fd = ping_socket();
  result("connect", connect_to(fd, PEER, 0));
  say_remote("remote", fd);
  struct echo echo = {.type = (uint8_t)request_type(), .sequence = htons(7)};
  memcpy(echo.text, "ping", 4);
  result("send", send(fd, &echo, 64, 0));
  say_poll("poll", fd, POLLIN);
  say_answer("answer", fd, port_of(fd));
  result("write", write(fd, &echo, 20));
  say_poll("poll", fd, POLLIN);
  char bytes[4];
  result("recv MSG_TRUNC", recv(fd, bytes, 4, MSG_TRUNC));
}
SCENARIO_BOTH(icmp_connected, .app = connected_app_side);

static void bound_app(void) {
  int fd = ping_socket();
  result("bind", bind_to(fd, APP, 4711));
  say("identifier", "%d", port_of(fd));
  result("bind again", bind_to(fd, APP, 4712));
  int other = ping_socket();
  result("the same identifier", bind_to(other, APP, 4711));
  close(other); // or it might get the answer
  result("not ours", bind_to(ping_socket(), PEER, 0));
  result("any", bind_to(ping_socket(), ANY, 0));
  result("request", send_request(fd, PEER, 1, 64));
  say_poll("poll", fd, POLLIN);
  say_answer("answer", fd, 4711);
  result("listen", listen(fd, 1));
  result("shutdown", shutdown(fd, SHUT_RD));
}
SCENARIO_BOTH(icmp_bound, .app = bound_app);

static void large_app(void) {
  static unsigned char bytes[9000], answer[9000];
  int fd = ping_socket();
  struct address to = at(PEER, 0);
  static const int sizes[] = {1400, 1500, 8008};
  for (int i = 0; i < 3; i++) {
    memset(bytes, i, sizeof bytes);
    struct echo echo = {.type = (uint8_t)request_type(), .sequence = htons((uint16_t)i)};
    memcpy(bytes, &echo, 8);
    char label[40];
    snprintf(label, sizeof label, "%d bytes", sizes[i]);
    result(label, sendto(fd, bytes, sizes[i], 0, &to.sa, to.length));
    say_poll("poll", fd, POLLIN);
    result("answer", recv(fd, answer, sizeof answer, MSG_DONTWAIT));
    say("the same bytes", "%s", memcmp(bytes + 8, answer + 8, sizes[i] - 8) == 0 ? "yes" : "no");
  }
}
SCENARIO_BOTH(icmp_large, .app = large_app);

// The time to live that came with an answer, and errors about a request.
static void control_app(void) {
  int fd = ping_socket(), level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  result("receive the TTL", set_option(fd, level, family == AF_INET ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1));
  NEED(send_request(fd, PEER, 1, 64) == 64);
  say_poll("poll", fd, POLLIN);
  char bytes[100], control[200];
  struct msghdr message = {.msg_iov = &(struct iovec){bytes, 100}, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  result("recvmsg", recvmsg(fd, &message, MSG_DONTWAIT));
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    int value;
    memcpy(&value, CMSG_DATA(header), sizeof value);
    say("control", "%d %d: %d", header->cmsg_level, header->cmsg_type, value);
  }
  result("receive errors", set_option(fd, level, family == AF_INET ? IP_RECVERR : IPV6_RECVERR, 1));
  NEED(send_request(fd, ABSENT, 2, 64) == 64);
  say("poll", "%s", mask_names(wait_for(fd, POLLIN)));
  message.msg_controllen = sizeof control;
  result("error queue", recvmsg(fd, &message, MSG_ERRQUEUE));
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    uint32_t error = 0;
    memcpy(&error, CMSG_DATA(header), sizeof error);
    if (header->cmsg_type == (family == AF_INET ? IP_RECVERR : IPV6_RECVERR)) say("its error", "%s", errno_name((int)error));
  }
}
SCENARIO_BOTH(icmp_control, .app = control_app);

static void filter_app(void) {
  int fd = ping_socket();
  uint32_t mask[8] = {0};
  socklen_t length = sizeof mask;
  result("ICMP_FILTER", getsockopt(fd, SOL_RAW, 1, mask, &length));
  length = sizeof mask;
  result("ICMPV6_FILTER", getsockopt(fd, IPPROTO_ICMPV6, 1, mask, &length));
  say_recv("MSG_OOB", fd, MSG_OOB | MSG_DONTWAIT);
  say_recv("MSG_ERRQUEUE", fd, MSG_ERRQUEUE);
  say_recv("none", fd, MSG_DONTWAIT);
}
SCENARIO_BOTH(icmp_options, .app = filter_app);
