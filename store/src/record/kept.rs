// SPDX-License-Identifier: Apache-2.0
//! What is written of a request that was granted under a key: which it was, and the records of what it made, as they were then.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use slb_core::{
    command::Tally,
    idempotency::{Digest, Kept, Key, Keyed, Made},
    model::{Invalid, LoadBalancer, LoadBalancerId, Time},
};
use uuid::Uuid;

use super::{Unreadable, version, whole};

/// The version that is written, and the latest that is understood.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct KeptV1 {
    request: [u8; 32],
    /// In milliseconds since 1970.
    at: u64,
    what: WhatV1,
    /// Ids, and records of their own.
    load_balancers: Vec<([u8; 16], Vec<u8>)>,
}

/// Written by number, in this order.
#[derive(Serialize, Deserialize)]
enum WhatV1 {
    LoadBalancer,
    Backend,
    Backends,
    /// How many were created, changed and removed.
    Declared(u32, u32, u32),
    /// An address, and a record of its own.
    Peer(String, Vec<u8>),
}

/// The record of a request that was granted. Its key is the key, not part of it.
///
/// # Errors
/// As with [`encode`](super::encode).
pub fn encode(kept: &Kept) -> Result<Vec<u8>, postcard::Error> {
    let each = |each: &Arc<LoadBalancer>| Ok((each.id.0.into_bytes(), super::encode(each)?));
    let record = KeptV1 {
        request: kept.keyed.request.0,
        at: kept.at.millis(),
        what: match &kept.made {
            Made::LoadBalancer(_) => WhatV1::LoadBalancer,
            Made::Backend(_) => WhatV1::Backend,
            Made::Backends(_) => WhatV1::Backends,
            Made::Declared(Tally { created, changed, removed }, _) => {
                let [created, changed, removed] =
                    [created, changed, removed].map(|count| u32::try_from(*count).unwrap_or(u32::MAX));
                WhatV1::Declared(created, changed, removed)
            }
            Made::Peer(peer) => WhatV1::Peer(peer.address.to_string(), super::peer::encode(peer)?),
        },
        load_balancers: kept.made.load_balancers().iter().map(each).collect::<Result<_, postcard::Error>>()?,
    };
    postcard::to_extend(&record, vec![VERSION])
}

/// The request of a record.
///
/// # Errors
/// As with [`decode`](super::decode).
pub fn decode(key: &str, bytes: &[u8]) -> Result<Kept, Unreadable> {
    let KeptV1 { request, at, what, load_balancers } = match version(bytes)? {
        (VERSION, fields) => whole(fields)?,
        (found, _) => return Err(Unreadable::Later { found, known: VERSION }),
    };
    let each =
        |(id, bytes): ([u8; 16], Vec<u8>)| super::decode(LoadBalancerId(Uuid::from_bytes(id)), &bytes).map(Arc::new);
    let all = load_balancers.into_iter().map(each).collect::<Result<Vec<_>, _>>()?;
    let made = match (what, all.as_slice()) {
        (WhatV1::LoadBalancer, [one]) => Made::LoadBalancer(Arc::clone(one)),
        (WhatV1::Backend, [one]) if one.backends().len() == 1 => Made::Backend(Arc::clone(one)),
        (WhatV1::Backends, [one]) => Made::Backends(Arc::clone(one)),
        (WhatV1::Declared(created, changed, removed), _) => {
            let [created, changed, removed] =
                [created, changed, removed].map(|count| usize::try_from(count).unwrap_or(usize::MAX));
            Made::Declared(Tally { created, changed, removed }, all)
        }
        (WhatV1::Peer(address, bytes), []) => Made::Peer(super::peer::decode(&address, &bytes)?),
        (WhatV1::LoadBalancer | WhatV1::Backend | WhatV1::Backends | WhatV1::Peer(..), _) => {
            return Err(Invalid("it is about another number of objects".to_owned()).into());
        }
    };
    let keyed = Keyed { key: Key::try_from(key)?, request: Digest(request) };
    Ok(Kept { keyed, at: Time::from_millis(at), made })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// On disks out there: a change that breaks it needs a new version, and a decoder for the old one.
    const WRITTEN: &[u8] = include_bytes!("../../tests/records/kept-v1-list.bin");
    const RECORDS: [&[u8]; 2] = [
        include_bytes!("../../tests/records/v1-one-backend.bin"),
        include_bytes!("../../tests/records/v7-with-the-proxy-protocol.bin"),
    ];

    fn kept(made: Made) -> Kept {
        let keyed = Keyed { key: Key::try_from("a-key").unwrap(), request: Digest([7; 32]) };
        Kept { keyed, at: Time::from_millis(1_793_000_000_000), made }
    }

    fn list() -> Vec<Arc<LoadBalancer>> {
        let each = |(number, bytes): (u128, &&[u8])| {
            Arc::new(super::super::decode(LoadBalancerId(Uuid::from_u128(number)), bytes).unwrap())
        };
        (1..).zip(&RECORDS).map(each).collect()
    }

    #[test]
    fn the_records_out_there_are_read() {
        let kept = kept(Made::Declared(Tally { created: 2, changed: 0, removed: 300 }, list()));
        assert_eq!(decode("a-key", WRITTEN).unwrap(), kept);
        assert_eq!(encode(&kept).unwrap(), WRITTEN);
        assert!(matches!(decode("a key", WRITTEN), Err(Unreadable::Invalid(_))));
        assert!(matches!(decode("a-key", &WRITTEN[..40]), Err(Unreadable::Malformed(_))));
        assert!(matches!(decode("a-key", &[WRITTEN, &[0]].concat()), Err(Unreadable::Longer(1))));
        assert!(matches!(decode("a-key", &[2]), Err(Unreadable::Later { found: 2, known: 1 })));
    }

    #[test]
    fn an_answer_is_about_as_many_objects_as_it_shows() {
        let one = Arc::clone(&list()[0]);
        let bytes = encode(&kept(Made::LoadBalancer(one))).unwrap();
        assert!(matches!(decode("a-key", &bytes).unwrap().made, Made::LoadBalancer(_)));
        let none = Arc::new(LoadBalancer { backends: None, ..LoadBalancer::clone(&list()[0]) });
        let bytes = encode(&kept(Made::Backend(none))).unwrap();
        assert!(matches!(decode("a-key", &bytes), Err(Unreadable::Invalid(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
            let mut bytes = WRITTEN.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len() * 4));
            if let Ok(kept) = decode("a-key", &bytes) {
                prop_assert_eq!(decode("a-key", &encode(&kept).unwrap()).unwrap(), kept);
            }
        }
    }
}
