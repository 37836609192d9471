// A plugin that opens a socket.
#include <sys/socket.h>

int plugin_socket(void);
int plugin_socket(void) { return socket(AF_INET, SOCK_STREAM, 0); }
