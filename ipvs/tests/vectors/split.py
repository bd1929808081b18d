#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""split.py FILE.pcap FOLDER: puts each IPVS message of a capture into a file of its own, repetitions left out."""
import pathlib
import struct
import sys

COMMANDS = (
    "unspec new-service set-service del-service get-service new-dest set-dest del-dest get-dest "
    "new-daemon del-daemon get-daemon set-config get-config set-info get-info zero flush"
).split()
LINKTYPE_NETLINK, NETLINK_GENERIC, NLM_F_REQUEST = 253, 16, 1

capture, folder = pathlib.Path(sys.argv[1]).read_bytes(), pathlib.Path(sys.argv[2])
assert struct.unpack_from("<I", capture, 20)[0] == LINKTYPE_NETLINK
messages, at = [], 24
while at < len(capture):
    length = struct.unpack_from("<I", capture, at + 8)[0]
    packet, at = capture[at + 16 : at + 16 + length], at + 16 + length
    generic, rest = struct.unpack_from(">H", packet, 14)[0] == NETLINK_GENERIC, packet[16:]
    while generic and len(rest) >= 20:
        length, family, flags = struct.unpack_from("<IHH", rest)
        messages.append((family, flags, rest[:length]))
        rest = rest[(length + 3) & ~3 :]

# ipvsadm starts with CTRL_CMD_GETFAMILY; the number of the family stands in the answer (CTRL_ATTR_FAMILY_ID).
answer = next(m for family, flags, m in messages if family == 16 and not flags & NLM_F_REQUEST and b"IPVS\0" in m)
ipvs = struct.unpack_from("<H", answer, answer.index(b"\x06\x00\x01\x00") + 4)[0]
seen, count = set(), {}
for family, flags, message in messages:
    kind = "ask" if flags & NLM_F_REQUEST else "answer"
    if family == ipvs and (kind, message[16:]) not in seen:
        seen.add((kind, message[16:]))
        name = f"{kind}-{COMMANDS[message[16]]}"
        count[name] = count.get(name, 0) + 1
        (folder / f"{name}-{count[name]}.bin").write_bytes(message)
