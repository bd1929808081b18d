// SPDX-License-Identifier: Apache-2.0
// Lets User Mode Linux 6.1 run on processors whose XSAVE area is larger than the one it was built for: it writes a shorter
// register set than PTRACE_SETREGSET accepts. The rest is filled in with what the process has.
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define NT_X86_XSTATE 0x202

static long call(long request, long pid, void *addr, void *data) { return syscall(SYS_ptrace, request, pid, addr, data); }

static long set_xstate(long pid, void *addr, struct iovec *given)
{
	static char area[1 << 16];
	struct iovec whole = { area, sizeof area };

	if (call(PTRACE_GETREGSET, pid, addr, &whole) < 0)
		return -1;
	if (whole.iov_len <= given->iov_len)
		return call(PTRACE_SETREGSET, pid, addr, given);
	memcpy(area, given->iov_base, given->iov_len);
	return call(PTRACE_SETREGSET, pid, addr, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list rest;
	va_start(rest, request);
	long pid = va_arg(rest, int);
	void *addr = va_arg(rest, void *);
	void *data = va_arg(rest, void *);
	va_end(rest);

	if (request == PTRACE_SETREGSET && (long)addr == NT_X86_XSTATE)
		return set_xstate(pid, addr, data);
	if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
		long word;
		if (call(request, pid, addr, &word) < 0)
			return -1;
		errno = 0;
		return word;
	}
	return call(request, pid, addr, data);
}
