// SPDX-License-Identifier: Apache-2.0
//! The VIPs of a load-balancer on the wire: `eip` is the original's, `eips` has all of them.

use serde::{Serialize, Serializer};
use slb_core::{
    command::WantedVips,
    model::{Invalid, Vips},
};

use crate::{
    fields::Fields,
    json::Node,
    read::{self, families, vip},
};

/// All of them, that of IPv4 first.
pub(crate) struct VipsView(pub(crate) Vips);

impl Serialize for VipsView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0)
    }
}

/// One, or one of each family, in any order.
pub(crate) fn vips(node: &Node) -> Result<Vips, String> {
    match *read::vips(node)? {
        [only] => Ok(only.into()),
        [one, other] => Vips::both(one, other).map_err(|Invalid(why)| why),
        ref all => Err(format!("{} addresses are too many; a load-balancer has two at most", all.len())),
    }
}

/// What `eip`, `eips` and `family` ask for together.
pub(crate) fn wanted_vips(fields: &mut Fields<'_>) -> Option<WantedVips> {
    let eip = fields.nullable("eip", vip);
    let eips = fields.nullable("eips", read::vips);
    let families = fields.optional("family", families);
    let vips = match (eip, &eips) {
        (Some(eip), Some(eips)) if !eips.contains(&eip) => {
            fields.found("eip", || format!("{eip} is not among eips; leave out one of them"));
            return None;
        }
        (_, Some(eips)) => eips.as_slice(),
        (Some(_), None) => eip.as_slice(),
        (None, None) => &[],
    };
    let culprit = if eips.is_some() { "eips" } else { "family" };
    WantedVips::new(families, vips).map_err(|Invalid(why)| fields.found(culprit, || why)).ok()
}
