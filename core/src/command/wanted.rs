// SPDX-License-Identifier: Apache-2.0
//! The VIPs that a creation asks for.

use crate::{
    model::{Families, Family, Invalid, Vip, Vips},
    ports::Wanted,
};

/// The VIPs asked for: one, or one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WantedVips {
    first: Wanted,
    second: Option<Wanted>,
}

impl WantedVips {
    /// Of these families, with these addresses among them; without families, no others.
    ///
    /// # Errors
    /// The addresses are too many, of one family, or not of the families.
    pub fn new(families: Option<Families>, vips: &[Vip]) -> Result<Self, Invalid> {
        let of =
            |family| vips.iter().find(|vip| vip.family() == family).map_or(Wanted::Of(family), |vip| Wanted::Vip(*vip));
        match (families, vips) {
            (None, []) => Ok(Self::default()),
            (Some(Families::One(family)), []) => Ok(Wanted::Of(family).into()),
            (None, [vip]) => Ok(Wanted::Vip(*vip).into()),
            (Some(Families::One(family)), [vip]) if vip.family() == family => Ok(Wanted::Vip(*vip).into()),
            (Some(Families::One(family)), [vip]) => {
                Err(Invalid(format!("{vip} is not an address of {family}; leave out one of them")))
            }
            (Some(Families::One(family)), [one, other]) => Err(Invalid(format!(
                "{one} and {other} are not both addresses of {family}; with \"dual\", there is one of each family"
            ))),
            (Some(Families::Dual), [] | [_]) => Ok(Self { first: of(Family::Ipv4), second: Some(of(Family::Ipv6)) }),
            (None | Some(Families::Dual), [one, other]) => {
                let vips = Vips::both(*one, *other)?;
                Ok(Self { first: Wanted::Vip(vips.first()), second: vips.second().map(Wanted::Vip) })
            }
            (_, [_, _, _, ..]) => Err(Invalid(format!(
                "{} addresses are too many; a load-balancer has one VIP of each family at most",
                vips.len()
            ))),
        }
    }

    /// The same, with those of `vips` where any one would do.
    #[must_use]
    pub fn keeping(self, vips: Vips) -> Self {
        let keep = |wanted| match wanted {
            Wanted::Any => Wanted::Vip(vips.first()),
            Wanted::Of(family) => vips.into_iter().find(|vip| vip.family() == family).map_or(wanted, Wanted::Vip),
            Wanted::Vip(_) => wanted,
        };
        Self { first: keep(self.first), second: self.second.map(keep) }
    }

    /// The VIPs, if each of them is named.
    #[must_use]
    pub fn named(self) -> Option<Vips> {
        match (self.first.vip()?, self.second) {
            (first, None) => Some(first.into()),
            (first, Some(second)) => Vips::both(first, second.vip()?).ok(),
        }
    }

    /// Each of them; that of IPv4 first, if there are two.
    pub fn each(self) -> impl Iterator<Item = Wanted> {
        std::iter::once(self.first).chain(self.second)
    }
}

impl From<Wanted> for WantedVips {
    fn from(only: Wanted) -> Self {
        Self { first: only, second: None }
    }
}

impl From<Option<Vip>> for WantedVips {
    fn from(vip: Option<Vip>) -> Self {
        Wanted::from(vip).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_of_each_family_at_most_is_asked_for() {
        let vip = |text: &str| text.parse::<Vip>().unwrap();
        let of = |families: &str, vips: &[&str]| {
            let families = (!families.is_empty()).then(|| families.parse().unwrap());
            let vips: Vec<Vip> = vips.iter().map(|text| vip(text)).collect();
            WantedVips::new(families, &vips).map(|wanted| wanted.each().collect::<Vec<_>>()).map_err(|Invalid(why)| why)
        };
        let (four, six) = ("192.0.2.1", "fd00::1");
        let (named, named_six) = (Wanted::Vip(vip(four)), Wanted::Vip(vip(six)));
        let (any, any_six) = (Wanted::Of(Family::Ipv4), Wanted::Of(Family::Ipv6));
        for (families, vips, expected) in [
            ("", &[][..], vec![Wanted::Any]),
            ("ipv6", &[], vec![any_six]),
            ("", &[six], vec![named_six]),
            ("ipv4", &[four], vec![named]),
            ("dual", &[], vec![any, any_six]),
            ("dual", &[six], vec![any, named_six]),
            ("dual", &[four], vec![named, any_six]),
            ("dual", &[six, four], vec![named, named_six]),
            ("", &[six, four], vec![named, named_six]),
        ] {
            assert_eq!(of(families, vips), Ok(expected), "{families} {vips:?}");
        }
        for (families, vips, why) in [
            ("ipv4", &[six][..], "fd00::1 is not an address of IPv4"),
            ("ipv6", &[four, six], "are not both addresses of IPv6"),
            ("dual", &[four, "192.0.2.2"], "are both of IPv4"),
            ("", &[six, "fd00::2"], "are both of IPv6"),
            ("", &[four, six, "fd00::2"], "3 addresses are too many"),
        ] {
            let refused = of(families, vips).unwrap_err();
            assert!(refused.contains(why), "{families} {vips:?}: {refused}");
        }
    }
}
