// SPDX-License-Identifier: Apache-2.0
// Stands in for IPVS where the kernel has none, so that keepalived, which does not start without it, can be measured there: of its requests
// to IPVS each succeeds and does nothing. Loaded before the C library (LD_PRELOAD), for a benchmark only. What keepalived's checks do goes
// to the kernel as it is.

#define _GNU_SOURCE
#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int getsockopt(int socket, int level, int name, void *restrict value, socklen_t *restrict length)
{
	if (level == IPPROTO_IP && name >= IP_VS_BASE_CTL && name <= IP_VS_SO_GET_MAX) {
		memset(value, 0, *length);
		return 0;
	}
	return syscall(SYS_getsockopt, socket, level, name, value, length);
}

int setsockopt(int socket, int level, int name, const void *value, socklen_t length)
{
	if (level == IPPROTO_IP && name >= IP_VS_BASE_CTL && name <= IP_VS_SO_SET_MAX)
		return 0;
	return syscall(SYS_setsockopt, socket, level, name, value, length);
}
