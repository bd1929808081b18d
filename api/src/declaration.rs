// SPDX-License-Identifier: Apache-2.0
//! Load-balancers of the configuration file, read as those in bodies are: the same fields, the same checks, the same words.
//!
//! ```toml
//! [[loadbalancer]]            # what POST /loadbalancer takes, with `backend` for `backends`
//! name = "web"
//! port = 80
//!
//! [[loadbalancer.backend]]    # what POST /loadbalancer/{uuid}/backend takes
//! ip = "10.0.0.11"
//! port = 8080
//! ```
//! mini-balancer's `[frontend]` is one of TCP that is known by its address.
//!
//! [`Document`] is the text, and says on which line something is; this page is what is in it.

mod document;
mod lines;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use slb_core::{
    command::NewLoadBalancer,
    model::{Advertise, Discord, Invalid, Listen, Name, Port, PortRange, Protocol, SourceNat, Target, Vip},
    ports::Wanted,
};

pub use self::document::{Document, Mistake};
use crate::{
    fields::{Fields, Findings},
    json::Node,
    read,
    wire::{BackendWish, LoadBalancerWish},
};

/// Something wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fault {
    /// Where, by keys and places in lists: `loadbalancer/0/backend/1/ip`. What is missing is missing there.
    at: String,
    /// What, in words for who wrote it.
    why: String,
}

/// A load-balancer of the file.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Where it is, for [`Document::blame`].
    pub at: String,
    /// What is asked for, under ids that nothing has had.
    pub load_balancer: NewLoadBalancer,
}

/// The load-balancers of a file, without its options. Commands of health checks are run on this host where that is allowed. Of what is wrong
/// with it, up to twenty things are told.
fn load_balancers(node: Node, commands: bool) -> Result<Vec<Declared>, Vec<Fault>> {
    let mut findings = Findings::default();
    let read = Fields::of(node, "#".to_owned(), &mut findings).map(wishes).unwrap_or_default();
    let mut declared = Vec::new();
    for (at, wish) in read {
        match new(&at, wish, commands, &mut findings) {
            Some(load_balancer) => declared.push(Declared { at, load_balancer }),
            None => continue,
        }
    }
    check_identities(&declared, &mut findings);
    check_places(&declared, &mut findings);
    if findings.is_empty() {
        return Ok(declared.into_iter().map(|each| Declared { at: plain(&each.at), ..each }).collect());
    }
    let (list, untold) = findings.into_parts();
    let mut faults: Vec<Fault> =
        list.into_iter().map(|finding| Fault { at: plain(&finding.pointer), why: finding.detail }).collect();
    if untold > 0 {
        faults.push(Fault { at: String::new(), why: format!("and {untold} more") });
    }
    Err(faults)
}

/// Without what makes it a JSON pointer.
fn plain(pointer: &str) -> String {
    pointer.trim_start_matches(['#', '/']).to_owned()
}

/// Each with its place.
fn wishes(mut fields: Fields<'_>) -> Vec<(String, LoadBalancerWish)> {
    let (mut wishes, mut index) = (Vec::new(), 0);
    fields.list("loadbalancer", |fields| {
        let wish = LoadBalancerWish::read(fields, "backend");
        wishes.extend(wish.map(|wish| (format!("#/loadbalancer/{index}"), wish)));
        index += 1;
        Some(())
    });
    let frontend = fields.object("frontend", frontend).flatten();
    wishes.extend(frontend.map(|wish| ("#/frontend".to_owned(), wish)));
    fields.finish();
    wishes
}

/// mini-balancer's way to say it.
fn frontend(mut fields: Fields<'_>) -> Option<LoadBalancerWish> {
    let place = fields.required("bind_on", |node| {
        let (address, port) = socket(node)?;
        Ok((said(Vip::try_from(address.ip()))?, port))
    });
    let backends = fields.list("backend", |mut fields| {
        let target = fields.required("forward_to", |node| {
            let (address, port) = socket(node)?;
            Ok(Target { ip: said(address.ip().try_into())?, port: Some(port) })
        });
        fields.finish();
        target.map(BackendWish::at)
    });
    fields.finish();
    let (vip, port) = place?;
    Some(LoadBalancerWish {
        name: Name::try_from(String::new()).ok()?,
        listen: Listen::Port(port),
        vips: Wanted::Vip(vip).into(),
        advertise: Advertise::default(),
        protocol: Protocol::Tcp,
        source_nat: SourceNat::default(),
        service: slb_core::model::ServiceSettings::default(),
        check: None,
        fallback: None,
        backends: backends.unwrap_or_default(),
    })
}

fn socket(node: &Node) -> Result<(SocketAddr, Port), String> {
    let text = read::text(node)?;
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address with a port; write it like \"127.0.0.1:3000\""))?;
    Ok((address, said(Port::try_from(i64::from(address.port())))?))
}

fn said<T>(read: Result<T, Invalid>) -> Result<T, String> {
    read.map_err(|invalid| invalid.to_string())
}

/// What is asked for, if nothing is wrong with it by itself.
fn new(at: &str, wish: LoadBalancerWish, commands: bool, findings: &mut Findings) -> Option<NewLoadBalancer> {
    let (mut backends, mut targets) = (Vec::new(), BTreeSet::new());
    for (index, wish) in wish.backends.iter().enumerate() {
        let at = format!("{at}/backend/{index}");
        if !targets.insert(wish.target) {
            findings.add(|| (at.clone(), format!("{} is there already", wish.target)));
        }
        match wish.with_new_id() {
            Ok(backend) => backends.push(backend),
            Err(Discord { field, why }) => findings.add(|| (format!("{at}/{field}"), why)),
        }
    }
    let mut checks = wish.check.iter().chain(backends.iter().filter_map(|backend| backend.check()));
    if !commands && checks.any(|check| check.runs_a_command()) {
        let why = "of the type exec runs a command on this host; start the server with --allowExecChecks";
        findings.add(|| (format!("{at}/healthCheck"), why.to_owned()));
    }
    Some(wish.into_new(backends))
}

/// After an edit it has to be known which one is which.
fn check_identities(declared: &[Declared], findings: &mut Findings) {
    let mut names = BTreeSet::new();
    for Declared { at, load_balancer } in declared {
        let name = load_balancer.name.as_str();
        if name.is_empty() && load_balancer.vips.named().is_none() {
            let why = "is missing; one without a name is known by its address, and needs an eip";
            findings.add(|| (format!("{at}/name"), why.to_owned()));
        }
        if !name.is_empty() && !names.insert(name) {
            findings.add(|| (format!("{at}/name"), format!("{name:?} is the name of another one; each needs its own")));
        }
    }
}

/// Two at one place are a mistake in the file, whatever else there is.
fn check_places(declared: &[Declared], findings: &mut Findings) {
    let mut places: BTreeMap<(Vip, Protocol), Vec<(PortRange, &str)>> = BTreeMap::new();
    for Declared { at, load_balancer } in declared {
        for vip in load_balancer.vips.each().filter_map(Wanted::vip) {
            let there = places.entry((vip, load_balancer.protocol)).or_default();
            for range in load_balancer.listen.ranges() {
                let taken = there.iter().find_map(|(theirs, by)| Some((theirs.common(range)?, by)));
                if let Some((port, by)) = taken {
                    let place = SocketAddr::new(vip.address(), port.get());
                    findings.add(|| (at.clone(), format!("{place} is that of {} already", plain(by))));
                }
                there.push((range, at));
            }
        }
    }
}

#[cfg(test)]
mod tests;
