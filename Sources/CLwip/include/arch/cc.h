// The compiler and C library under lwIP: glibc on 64-bit Linux.
#ifndef NC_ARCH_CC_H
#define NC_ARCH_CC_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/types.h>

#define LWIP_TIMEVAL_PRIVATE 0
#define LWIP_ERRNO_STDINCLUDE 1
#define LWIP_RAND() ((u32_t)arc4random()) /* glibc 2.36; unpredictable ports and identifiers (RFC 6056) */
#define LWIP_DONT_PROVIDE_BYTEORDER_FUNCTIONS
#define LWIP_PLATFORM_DIAG(message) do { printf message; } while (0)
#define LWIP_PLATFORM_ASSERT(message)                                              \
  do {                                                                             \
    fprintf(stderr, "lwIP invariant broken: %s (%s:%d)\n", message, __FILE__, __LINE__); \
    abort();                                                                       \
  } while (0)

typedef unsigned int sys_prot_t;

// Byte order by an instruction, not by a call of lwIP's function (lwip/def.h).
#define lwip_htons(x) ((u16_t)__builtin_bswap16((u16_t)(x)))
#define lwip_htonl(x) ((u32_t)__builtin_bswap32((u32_t)(x)))

#endif
