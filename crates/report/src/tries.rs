//! The tries of a search: a row each, with a bar of the cost that was planned.

use sepconv_spec::Try;

use super::format::fixed;
use super::table::{Cell, Table};

/// Width of the longest bar, in pixels.
const WIDTH: f64 = 120.0;

/// A table of the plans that a search tried.
pub(super) fn table(tries: &[Try]) -> Table {
    let head = vec![
        Cell::number("Cost asked"),
        Cell::number("Cost planned"),
        Cell::text("Of the original's"),
        Cell::number("Expected loss"),
        Cell::number("Measured"),
        Cell::text("Meets the goal"),
    ];
    let caption = "Plans that the search tried, in order. Costs are fractions of the original's; \
                   measured is the figure that the goal is about.";
    let mut table = Table::new("tries", caption, head);
    for one in tries {
        table.row(row(one));
    }
    table
}

fn row(one: &Try) -> Vec<Cell> {
    let cost = |value: f64| Cell::number(&fixed(value, 4)).exactly(value);
    let none = || Cell::maybe(None);
    let loss = |value: f64| Cell::number(&format!("{value:.3e}")).exactly(value);
    vec![
        cost(one.asked),
        one.fraction.map_or_else(none, cost),
        Cell::text("").drawn(bar(one)),
        one.expected_loss.map_or_else(none, loss),
        one.measured.map_or_else(none, cost),
        Cell::text(if one.holds { "yes" } else { "no" }),
    ]
}

/// The planned cost within the original's.
fn bar(one: &Try) -> String {
    let planned = one.fraction.unwrap_or(0.0).clamp(0.0, 1.0) * WIDTH;
    let class = if one.holds { "after" } else { "kept" };
    format!(
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart layers" width="{width}" "#,
            r#"height="12" aria-hidden="true">"#,
            r#"<rect class="before" y="1" width="{width}" height="10"/>"#,
            r#"<rect class="{class}" y="3" width="{planned:.1}" height="6"/></svg>"#
        ),
        width = WIDTH,
        class = class,
        planned = planned
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_without_a_plan_have_no_bar_and_the_others_one_of_their_cost() {
        let tries = [
            Try {
                asked: 0.2,
                fraction: None,
                expected_loss: None,
                measured: None,
                limit: None,
                holds: false,
            },
            Try {
                asked: 0.5,
                fraction: Some(0.5),
                expected_loss: Some(0.01),
                measured: Some(31.5),
                limit: None,
                holds: true,
            },
        ];
        let html = table(&tries).html();
        assert!(html.contains(r#"class="kept" y="3" width="0.0""#), "{html}");
        assert!(
            html.contains(r#"class="after" y="3" width="60.0""#),
            "{html}"
        );
        assert!(html.contains("31.5"), "{html}");
    }
}
