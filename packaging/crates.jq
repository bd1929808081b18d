# SPDX-License-Identifier: Apache-2.0
# For jq: what slb is made of, out of what `cargo metadata` says for each processor, as one list.

# All of them, by id.
def packages: map(.packages[]) | INDEX(.id);

# Whom each uses, by dependencies of these kinds: null is an ordinary one, "build" one of a build script.
def uses($kinds): map(.resolve.nodes[]) | group_by(.id) | map({
    key: .[0].id,
    value: ([.[].deps[] | select(any(.dep_kinds[].kind; [.] | inside($kinds))) | .pkg] | unique)
}) | from_entries;

# Who is used by the root, itself included, and through whom; of each the ids that `followed` leaves.
def reached($uses; followed): { todo: [.[0].resolve.root], seen: {} } | until(.todo == [];
    .todo[0] as $id
    | .todo |= .[1:]
    | if .seen[$id] then . else .seen[$id] = true | .todo += ($uses[$id] | map(select(followed))) end
) | .seen | keys;

# What is in the binary: neither what build scripts use, nor macros, which work in the compiler.
def linked: packages as $packages
    | reached(uses([null]); $packages[.] | any(.targets[].kind[]; . == "proc-macro") | not);
