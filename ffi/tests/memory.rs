// SPDX-License-Identifier: Apache-2.0
//! The allocator at work: this program takes its own memory from it.

use std::thread;

use proptest::{collection::vec, prelude::*};
use slb_ffi::memory::{Allocator, LARGE};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// What is done to one of a few lists.
#[derive(Clone, Debug)]
enum Action {
    /// It gets so many more of this byte.
    Extend(usize, u8),
    /// It is cut to so many, and takes no more than it needs.
    Shrink(usize),
    /// It begins anew, with so many zeros.
    Zeros(usize),
}

fn action() -> impl Strategy<Value = Action> {
    // To both sides of the limit, and far beyond it.
    let size = || prop_oneof![0..64_usize, LARGE - 8..LARGE + 8, 0..20 * LARGE];
    prop_oneof![
        (size(), any::<u8>()).prop_map(|(more, byte)| Action::Extend(more, byte)),
        size().prop_map(Action::Shrink),
        size().prop_map(Action::Zeros),
    ]
}

/// A list as runs of bytes: what it must be, without its memory.
#[derive(Clone, Default)]
struct Runs(Vec<(usize, u8)>);

impl Runs {
    fn apply(&mut self, action: &Action) {
        match *action {
            Action::Extend(more, byte) => self.0.push((more, byte)),
            Action::Shrink(mut left) => {
                for (length, _) in &mut self.0 {
                    *length = left.min(*length);
                    left -= *length;
                }
            }
            Action::Zeros(length) => self.0 = vec![(length, 0)],
        }
    }

    fn are(&self, list: &[u8]) -> bool {
        let mut rest = list;
        let all = self.0.iter().all(|&(length, byte)| {
            let (run, after) = rest.split_at(length);
            rest = after;
            run.iter().all(|found| *found == byte)
        });
        all && rest.is_empty()
    }
}

fn apply(list: &mut Vec<u8>, action: &Action) {
    match *action {
        Action::Extend(more, byte) => list.resize(list.len() + more, byte),
        Action::Shrink(left) => {
            list.truncate(left);
            list.shrink_to_fit();
        }
        Action::Zeros(length) => *list = vec![0; length],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Several lists are changed in turns: each has its own bytes afterwards, and fresh ones are zero.
    #[test]
    fn what_is_written_is_there(actions in vec((0..4_usize, action()), 1..24)) {
        let mut lists = [const { Vec::new() }; 4];
        let mut expected = [const { Runs(Vec::new()) }; 4];
        for (at, action) in &actions {
            apply(&mut lists[*at], action);
            expected[*at].apply(action);
            for (list, runs) in lists.iter().zip(&expected) {
                prop_assert!(runs.are(list), "after {action:?} of {at}");
            }
        }
    }
}

#[test]
fn alignments_are_kept() {
    #[repr(align(4096))]
    #[derive(Clone)]
    struct Page([u8; 4096]);
    #[repr(align(65536))]
    #[derive(Clone)]
    struct Wide([u8; 65536]);
    for count in [1, 31, 32, 33, 100] {
        let (pages, mut wide) = (vec![Page([7; _]); count], vec![Wide([8; _]); count]);
        wide.extend_from_slice(&wide.clone());
        assert_eq!((pages.as_ptr().addr() % 4096, wide.as_ptr().addr() % 65536), (0, 0), "{count}");
        assert!(pages.iter().all(|page| page.0 == [7; _]) && wide.iter().all(|wide| wide.0 == [8; _]), "{count}");
    }
}

#[test]
fn threads_share_it() {
    let thread = |byte: u8| {
        move || {
            (1..200).all(|round| {
                let list = vec![byte; round * LARGE / 50];
                let moved = thread::spawn(move || list).join().unwrap();
                moved.iter().all(|found| *found == byte)
            })
        }
    };
    let threads: Vec<_> = (1..=4).map(|byte| thread::spawn(thread(byte))).collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
}
