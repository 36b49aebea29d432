//! The families of decompositions that are tried for a layer.

use std::fmt;
use std::sync::Arc;

use sepconv_factor::{Decomposition, families};
use serde::{Deserialize, Serialize};

use crate::site::Site;

/// Which order of the depthwise and the pointwise convolution is allowed.
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

/// Which families are tried for a convolution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Families {
    /// The order allowed among `dw-pw` and `pw-dw`.
    pub order: Order,
    /// Names of the families, see [`sepconv_factor::families()`]; where it is empty, `dw-pw` and
    /// `pw-dw`. A name with a `+` before it comes on top of what there would be without it.
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

    /// Whether the names, if any, come on top of a default.
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

    /// Whether a family is tried: it is named or the caller's, and the order allows it. Of
    /// `dw-pw` and `pw-dw`, where both are tried, [`Order::Best`] leaves out the one whose pointwise
    /// convolution would run at the larger resolution of a convolution with strides above 1, which
    /// makes it several times dearer.
    pub fn allows(&self, family: &str, strided: bool, transposed: bool) -> bool {
        if self.own.names().any(|own| own == family) {
            return true;
        }
        let ordered = match (self.order, family) {
            (Order::DwPw, "pw-dw") | (Order::PwDw, "dw-pw") => false,
            (Order::Best, "pw-dw") => transposed || !strided || !self.tries("dw-pw"),
            (Order::Best, "dw-pw") => !transposed || !strided || !self.tries("pw-dw"),
            _ => true,
        };
        ordered && self.tries(family)
    }

    /// Whether a family is named, or one of the default.
    fn tries(&self, family: &str) -> bool {
        let separable = matches!(family, "dw-pw" | "pw-dw");
        let named = self.names.iter().any(|n| bare(n) == family);
        named || self.is_default() && separable
    }

    /// Whether matrix products are surveyed beside convolutions: where an optional family is
    /// asked for by its name. No other applies to them.
    pub fn products(&self) -> bool {
        let mut named = self.names.iter().filter_map(|n| self.find(bare(n)));
        named.any(Decomposition::is_optional)
    }

    pub(crate) fn allow(&self, family: &str, site: &Site) -> bool {
        self.allows(family, site.is_strided(), site.attributes.transposed)
    }
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
    use crate::testing::conv;
    use sepconv_analysis::constants::Sight;
    use sepconv_analysis::{Assumptions, Pins, Shapes};

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
            assert!(alone.allows("pw-dw", true, false), "{alone:?}");
            assert!(!alone.allows("dw-pw", true, true), "{alone:?}");
        }
        assert!(named(&["dw-pw"], Order::Best).allows("dw-pw", true, true));
        for both in [
            named(&[], Order::Best),
            named(&["pw-dw", "dw-pw"], Order::Best),
        ] {
            assert!(!both.allows("pw-dw", true, false) && both.allows("dw-pw", true, false));
            assert!(both.allows("pw-dw", true, true) && !both.allows("dw-pw", true, true));
        }
    }

    #[test]
    fn names_with_a_plus_are_added_to_the_default() {
        let graph = conv(4, 4, 1, 1);
        let (node, _) = graph.operators().next().unwrap();
        let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
        let site = Site::of(&graph, node, &shapes, Sight::Plain)
            .unwrap()
            .unwrap();
        let allowed = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            let order = Order::Best;
            let chosen = Families {
                names,
                ..order.into()
            };
            let all = families().iter().map(|f| f.name());
            all.filter(|f| chosen.allow(f, &site)).collect::<Vec<_>>()
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
