// A condition that must hold: else its text, its line and errno on stderr, and exit status 1.
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, strerror(errno));                                     \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

#endif
