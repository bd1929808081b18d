// SPDX-License-Identifier: Apache-2.0
//! What load-balancers of the file mean for the options, and the other way round.

use std::collections::BTreeSet;

use super::{BadOption, Config};
use crate::{args::Given, file::File};

impl Config {
    /// With load-balancers of a file, which can be right.
    ///
    /// # Errors
    /// They cannot.
    pub fn with_file(self, file: Option<File>) -> Result<Self, BadOption> {
        if let Some(file) = &file {
            file.load_balancers(self.commands).map_err(|bad| BadOption(format!("--config {bad}")))?;
        }
        Ok(Self { file, ..self })
    }
}

/// The options; without a range, the VIPs that the file names are the range: a file can be all that there is to say.
///
/// # Errors
/// They are wanted, and the file has load-balancers that cannot be.
pub fn with_vips_of(given: Given, file: Option<&File>) -> Result<Given, BadOption> {
    let has_pool =
        given.ipam_range.as_ref().is_some_and(|range| !range.is_empty()) || given.equinix_metal == Some(true);
    let Some(file) = file.filter(|_| !has_pool) else { return Ok(given) };
    let declared = file.load_balancers(true).map_err(|bad| BadOption(format!("--config {bad}")))?;
    let wanted = declared.iter().flat_map(|each| each.load_balancer.vips.each());
    let vips: BTreeSet<String> = wanted.filter_map(|wanted| Some(wanted.vip()?.to_string())).collect();
    if vips.is_empty() {
        return Ok(given);
    }
    Ok(Given { ipam_range: Some(vips.into_iter().collect::<Vec<_>>().join(",")), ..given })
}
