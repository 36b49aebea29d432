//! The families of decompositions that are tried for a layer.

use std::fmt;
use std::sync::Arc;

use sepconv_factor::{Decomposition, RankUnit, Resolution, families};
use serde::{Deserialize, Serialize};

/// The order of the depthwise and the pointwise convolution that is allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Depthwise, then pointwise.
    DwPw,
    /// Pointwise, then depthwise.
    PwDw,
    /// The better one for each layer.
    #[default]
    Best,
}

/// The name that stands for no family.
pub const NO_FAMILY: &str = "none";

/// The families that are tried for a convolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Families {
    /// The order allowed among `dw-pw` and `pw-dw`.
    pub order: Order,
    /// Names of the families, see [`sepconv_factor::families()`]; where it is empty, `dw-pw` and
    /// `pw-dw`; [`NO_FAMILY`] alone is none. A name with a `+` before it comes on top of the families without it.
    pub names: Vec<String>,
    /// Families of the caller's, see [`Families::with`].
    #[serde(skip)]
    pub own: Own,
}

/// Families that the caller brings. They are equal where their names are.
#[derive(Clone, Default)]
pub struct Own(Vec<Arc<dyn Decomposition>>);

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        self.names().eq(other.names())
    }
}

impl Eq for Own {}

impl Own {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|f| f.name())
    }
}

impl Families {
    /// Tries a family of the caller's as well, wherever it applies, whatever the names and the
    /// order say. It takes the place of a family of the same name.
    #[must_use]
    pub fn with(mut self, family: Arc<dyn Decomposition>) -> Self {
        self.own.0.retain(|f| f.name() != family.name());
        self.own.0.push(family);
        self
    }

    /// Every family that there is: those of [`sepconv_factor::families()`], then the caller's.
    pub fn all(&self) -> impl Iterator<Item = &dyn Decomposition> {
        let replaced = |name: &str| self.own.names().any(|own| own == name);
        let given = families().iter().filter(move |f| !replaced(f.name()));
        let given = given.map(|f| *f as &dyn Decomposition);
        given.chain(self.own.0.iter().map(AsRef::as_ref))
    }

    /// The family of that name.
    pub fn find(&self, name: &str) -> Option<&dyn Decomposition> {
        self.all().find(|f| f.name() == name)
    }

    /// True where no family is tried.
    pub fn is_none(&self) -> bool {
        self.names.iter().map(String::as_str).eq([NO_FAMILY])
    }

    /// True where the names, if any, come on top of a default.
    pub fn is_default(&self) -> bool {
        self.names.iter().all(|n| n.starts_with('+'))
    }

    /// Puts every family that is not optional in the place of the default.
    pub fn widen(&mut self) {
        let all = families().iter().filter(|f| !f.is_optional());
        let added: Vec<String> = self.names.iter().map(|n| bare(n).to_owned()).collect();
        self.names = all.map(|f| f.name().to_owned()).collect();
        for name in added {
            if !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// The unit that the ranks of the family of that name count; `None` where there is none.
    pub fn rank_unit(&self, family: &str) -> Option<RankUnit> {
        self.find(family).map(Decomposition::rank_unit)
    }

    /// True where a family is tried: it is named or the caller's, and the order allows it. Of two
    /// depthwise-separable orders that are both tried, [`Order::Best`] leaves out the one whose
    /// pointwise convolution would run at the larger resolution of a convolution with strides above
    /// 1, which makes it several times costlier.
    pub fn allows(&self, family: &dyn Decomposition, strided: bool, transposed: bool) -> bool {
        if self.own.names().any(|own| own == family.name()) {
            return true;
        }
        let larger = match transposed {
            true => Resolution::Output,
            false => Resolution::Input,
        };
        let first = mixes_at(family);
        let ordered = match (self.order, first) {
            (_, None) => true,
            (Order::DwPw, Some(at)) => at == Resolution::Output,
            (Order::PwDw, Some(at)) => at == Resolution::Input,
            (Order::Best, Some(at)) => {
                let mut others = families().iter().map(|f| *f as &dyn Decomposition);
                let cheaper = |f: &dyn Decomposition| mixes_at(f).is_some_and(|f| f != at);
                !strided || at != larger || !others.any(|f| cheaper(f) && self.tries(f))
            }
        };
        ordered && self.tries(family)
    }

    /// True where a family is named, or one of the default: those of depthwise-separable terms.
    fn tries(&self, family: &dyn Decomposition) -> bool {
        let named = self.names.iter().any(|n| bare(n) == family.name());
        named || self.is_default() && family.rank_unit() == RankUnit::Terms
    }

    /// True where matrix products are surveyed beside convolutions: where an optional family is
    /// asked for by its name. No other applies to them.
    pub fn products(&self) -> bool {
        let mut named = self.names.iter().filter_map(|n| self.find(bare(n)));
        named.any(Decomposition::is_optional)
    }
}

/// The resolution at which the first stage of a depthwise-separable family runs: `Input` where its
/// pointwise convolution stands in front; `None` of other families.
fn mixes_at(family: &dyn Decomposition) -> Option<Resolution> {
    let separable = family.rank_unit() == RankUnit::Terms;
    family.resolutions().first().copied().filter(|_| separable)
}

/// A name of [`Families::names`] without its `+`.
fn bare(name: &str) -> &str {
    name.strip_prefix('+').unwrap_or(name)
}

impl From<Order> for Families {
    fn from(order: Order) -> Self {
        Self {
            order,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sepconv_factor::family;

    fn by(name: &str) -> &'static dyn Decomposition {
        family(name).unwrap()
    }

    #[test]
    fn the_only_order_that_is_tried_is_tried_with_strides_too() {
        let named = |names: &[&str], order: Order| Families {
            names: names.iter().map(ToString::to_string).collect(),
            ..order.into()
        };
        for alone in [
            named(&["pw-dw"], Order::Best),
            named(&["pw-dw", "cp"], Order::Best),
            named(&[], Order::PwDw),
        ] {
            assert!(alone.allows(by("pw-dw"), true, false), "{alone:?}");
            assert!(!alone.allows(by("dw-pw"), true, true), "{alone:?}");
        }
        assert!(named(&["dw-pw"], Order::Best).allows(by("dw-pw"), true, true));
        for both in [
            named(&[], Order::Best),
            named(&["pw-dw", "dw-pw"], Order::Best),
        ] {
            assert!(
                !both.allows(by("pw-dw"), true, false) && both.allows(by("dw-pw"), true, false)
            );
            assert!(both.allows(by("pw-dw"), true, true) && !both.allows(by("dw-pw"), true, true));
        }
    }

    #[test]
    fn names_with_a_plus_are_added_to_the_default() {
        let allowed = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            let order = Order::Best;
            let chosen = Families {
                names,
                ..order.into()
            };
            let all = families().iter();
            let all = all.filter(|f| chosen.allows(**f, false, false));
            all.map(|f| f.name()).collect::<Vec<_>>()
        };
        assert_eq!(allowed(&[]), ["dw-pw", "pw-dw"]);
        assert_eq!(allowed(&["+lowrank"]), ["dw-pw", "pw-dw", "lowrank"]);
        assert_eq!(allowed(&["cp", "+lowrank"]), ["cp", "lowrank"]);
        let mut wide = Families::default();
        wide.widen();
        assert!(wide.names.iter().any(|n| n == "cp"));
        assert!(!wide.names.iter().any(|n| n == "lowrank"));
    }
}
