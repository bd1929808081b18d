// SPDX-License-Identifier: Apache-2.0
//! Readers that keep up, that do not, and that come back.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
};

use futures_util::{FutureExt, StreamExt};

use super::*;

fn conflict(number: usize) -> Event {
    Event::Conflict { vip: "192.0.2.1".parse().unwrap(), holder: number.to_string() }
}

fn journal() -> Arc<Journal> {
    Arc::new(Journal::new(Uuid::from_u128(1), || SystemTime::UNIX_EPOCH))
}

/// What there is to hear now: `None` for a reset, else the number that was told.
fn heard(reader: &mut Reader) -> Vec<(EventId, Option<usize>)> {
    let mut heard = Vec::new();
    while let Some(Some(next)) = reader.next().now_or_never() {
        heard.push(match next {
            Heard::Reset(id) => (id, None),
            Heard::Event(id, entry) => {
                let Event::Conflict { holder, .. } = &entry.event else { panic!("{entry:?}") };
                (id, Some(holder.parse().unwrap()))
            }
        });
    }
    heard
}

fn numbers(heard: &[(EventId, Option<usize>)]) -> Vec<Option<usize>> {
    heard.iter().map(|(_, number)| *number).collect()
}

#[test]
fn a_reader_starts_anew_and_hears_the_rest_in_order() {
    let journal = journal();
    journal.tell(conflict(1));
    let mut reader = journal.read(None);
    assert_eq!(numbers(&heard(&mut reader)), [None]);
    (2..5).for_each(|number| journal.tell(conflict(number)));
    assert_eq!(numbers(&heard(&mut reader)), [Some(2), Some(3), Some(4)]);
    assert_eq!(heard(&mut reader), []);
}

#[test]
fn nothing_is_kept_before_somebody_reads() {
    let journal = journal();
    (0..3).for_each(|number| journal.tell(conflict(number)));
    assert_eq!(journal.pages().kept.len(), 0);
    let first: EventId = format!("{}-1", Uuid::from_u128(1).simple()).parse().unwrap();
    let mut reader = journal.read(Some(first));
    assert_eq!(numbers(&heard(&mut reader)), [None], "what came after the first is not known any more");
    journal.tell(conflict(3));
    assert_eq!(numbers(&heard(&mut reader)), [Some(3)]);
}

#[test]
fn a_reader_that_comes_back_misses_nothing() {
    let journal = journal();
    let mut first = journal.read(None);
    let mut all = heard(&mut first);
    (1..4).for_each(|number| journal.tell(conflict(number)));
    all.append(&mut heard(&mut first));
    for (index, (id, _)) in all.into_iter().enumerate() {
        let said: EventId = id.to_string().parse().unwrap();
        let rest: Vec<_> = (index + 1..4).map(Some).collect();
        assert_eq!(numbers(&heard(&mut journal.read(Some(said)))), rest, "{id}");
    }
}

#[test]
fn what_is_not_known_any_more_is_a_reset() {
    let journal = journal();
    let mut slow = journal.read(None);
    let (reset, _) = heard(&mut slow)[0];
    (0..KEPT).for_each(|number| journal.tell(conflict(number)));
    assert_eq!(heard(&mut journal.read(Some(reset))).len(), KEPT);
    journal.tell(conflict(KEPT));
    assert_eq!(numbers(&heard(&mut slow)), [None]);
    journal.tell(conflict(7));
    assert_eq!(numbers(&heard(&mut slow)), [Some(7)]);

    let others = Arc::new(Journal::new(Uuid::from_u128(2), || SystemTime::UNIX_EPOCH));
    assert_eq!(numbers(&heard(&mut others.read(Some(reset)))), [None]);
    let future: EventId = format!("{}-99", Uuid::from_u128(2).simple()).parse().unwrap();
    assert_eq!(numbers(&heard(&mut others.read(Some(future)))), [None]);
    for nonsense in ["", "1", "-", "x-1", "00000000000000000000000000000001-", "00000000000000000000000000000001-x"] {
        assert_eq!(nonsense.parse::<EventId>(), Err(NotAnId), "{nonsense}");
    }
}

#[test]
fn readers_end_when_the_journal_is_closed_and_read() {
    let journal = journal();
    let mut reader = journal.read(None);
    journal.tell(conflict(1));
    journal.close();
    assert!(matches!(reader.next().now_or_never(), Some(Some(Heard::Reset(_)))));
    assert!(matches!(reader.next().now_or_never(), Some(None)));
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn whoever_has_read_all_is_woken_and_whoever_has_gone_is_forgotten() {
    let journal = journal();
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Arc::clone(&woken).into();
    let mut context = Context::from_waker(&waker);
    let [mut reader, mut gone] = [(), ()].map(|()| journal.read(None));
    for reader in [&mut reader, &mut gone] {
        assert!(reader.poll_next_unpin(&mut context).is_ready());
        assert!(reader.poll_next_unpin(&mut context).is_pending());
    }
    drop(gone);
    journal.tell(conflict(1));
    journal.tell(conflict(2));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(numbers(&heard(&mut reader)), [Some(1), Some(2)]);
    let _ = reader.poll_next_unpin(&mut context);
    journal.close();
    assert_eq!(woken.0.load(Ordering::Relaxed), 2);
    assert!(matches!(reader.poll_next_unpin(&mut context), Poll::Ready(None)));
}
