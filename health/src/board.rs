// SPDX-License-Identifier: Apache-2.0
//! What checks have found: the engine books, the controller hears of changes, readers look.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use slb_core::{
    checker::{Beginning, Known, LastCheck, Report, Reports, Transition, Watch},
    health::{Health, Standing},
};
use tokio::sync::Notify;

use crate::register::Change;

/// Everything that is asked.
#[derive(Debug, Default)]
pub(crate) struct Board {
    records: RwLock<BTreeMap<Watch, Arc<Record>>>,
    /// What the controller has not heard of; each once.
    changed: Mutex<Vec<Arc<Record>>>,
    bell: Notify,
}

/// Something that is asked.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) watch: Watch,
    has_ended: AtomicBool,
    found: Mutex<Found>,
}

#[derive(Clone, Debug)]
struct Found {
    health: Health,
    now: Known,
    last: Option<LastCheck>,
    reason: Option<String>,
    told: Standing,
    is_to_be_told: bool,
}

impl Record {
    fn new(watch: Watch, found: Found) -> Self {
        Self { watch, has_ended: AtomicBool::new(false), found: Mutex::new(found) }
    }

    /// How it has answered so far.
    pub(crate) fn health(&self) -> Health {
        self.found().health
    }

    /// Whether nobody asks it any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the controller has to hear, if it is not what it heard last.
    fn tell(&self) -> Option<Transition> {
        let mut found = self.found();
        found.is_to_be_told = false;
        if self.has_ended() || found.told == found.now.standing {
            return None;
        }
        found.told = found.now.standing;
        Some(Transition { watch: self.watch.clone(), now: found.now, reason: found.reason.clone() })
    }
}

impl Found {
    fn new(health: Health, now: Known) -> Self {
        Self { health, now, last: None, reason: None, told: now.standing, is_to_be_told: false }
    }

    fn at_first() -> Self {
        Self::new(Health::new(), Known { standing: Standing::Up, since: SystemTime::now() })
    }
}

impl Board {
    /// Takes down what has ended, puts up what begins, and says the latter.
    pub(crate) fn change(&self, change: Change) -> Vec<Arc<Record>> {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        let mut begun = Vec::with_capacity(change.begin.len());
        for (watch, beginning) in change.begin {
            let found = match beginning {
                Beginning::New => Found::at_first(),
                Beginning::Known(known) => Found::new(Health::known(known.standing), known),
                Beginning::After(before) => records.get(&before).map_or_else(Found::at_first, |it| it.found().clone()),
            };
            let record = Arc::new(Record::new(watch.clone(), found));
            records.insert(watch, Arc::clone(&record));
            begun.push(record);
        }
        for watch in change.end {
            if let Some(record) = records.remove(&watch) {
                record.has_ended.store(true, Ordering::Relaxed);
            }
        }
        drop(records);
        // What the one before has not told any more.
        begun.iter().filter(|record| record.found().is_to_be_told).for_each(|record| self.ring(record));
        begun
    }

    fn ring(&self, news: &Arc<Record>) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(news));
        self.bell.notify_one();
    }

    /// Books a check that ended, how it has been answered with that, and the standing it led to if that is another one.
    pub(crate) fn book(&self, record: &Arc<Record>, check: LastCheck, health: Health, turned: Option<Standing>) {
        let mut found = record.found();
        found.health = health;
        if let Some(standing) = turned {
            found.now = Known { standing, since: check.at + check.took };
            found.reason = check.error.clone();
        }
        found.last = Some(check);
        let is_news = turned.is_some() && !mem::replace(&mut found.is_to_be_told, true);
        drop(found);
        if is_news {
            self.ring(record);
        }
    }

    /// What has changed; waits until something has. Cancel-safe: nothing is taken before the only wait.
    pub(crate) async fn next(&self) -> Vec<Transition> {
        loop {
            let changed = mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
            let told: Vec<_> = changed.iter().filter_map(|record| record.tell()).collect();
            if !told.is_empty() {
                return told;
            }
            self.bell.notified().await;
        }
    }
}

impl Reports for Board {
    fn report(&self, watch: &Watch) -> Option<Report> {
        let records = self.records.read().unwrap_or_else(PoisonError::into_inner);
        let record = Arc::clone(records.get(watch)?);
        drop(records);
        let found = record.found();
        Some(Report { now: found.now, last: found.last.clone() })
    }
}
