//! Every page that is made by hand, in a headless browser.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use super::super::fixtures::all;

#[path = "../../../../tests/e2e/support/browser.rs"]
mod support;

use support::{Browser, skipped};

const LIGHT: &str = "rgb(255, 255, 255)";
const DARK: &str = "rgb(20, 23, 27)";

#[test]
fn pages_fit_phones_desks_and_paper() {
    let Some(browser) = Browser::find() else {
        return skipped("pages of the report");
    };
    let folder = tempfile::tempdir().unwrap();
    let pages = all().into_iter().map(|(name, report)| {
        let path = folder.path().join(format!("{name}.html"));
        std::fs::write(&path, report.html()).unwrap();
        path
    });
    let pages: Vec<PathBuf> = pages.collect();
    for (width, dark) in [(360, false), (390, true), (1280, false)] {
        for laid in browser.lay_out(&pages, width, dark) {
            assert_eq!(laid.client, f64::from(width), "{laid:?}");
            assert!(laid.scroll <= laid.client, "{laid:?}");
            assert!(laid.text >= 11.0, "{laid:?}");
            assert_eq!(laid.background, if dark { DARK } else { LIGHT }, "{laid:?}");
            let none = laid.overlaps.is_empty() && laid.clipped.is_empty();
            assert!(none, "{laid:?}");
            let empty = laid.page.ends_with("empty.html");
            assert_eq!(laid.drawings == 0, empty, "{laid:?}");
        }
    }
    let blank = folder.path().join("blank.html");
    std::fs::write(&blank, "<!doctype html>").unwrap();
    let blank = browser.screenshot(&blank, false).len();
    let swept = folder.path().join("swept.html");
    let [light, dark] = [false, true].map(|dark| browser.screenshot(&swept, dark));
    assert!(light.len() > 8 * blank && dark.len() > 8 * blank);
    assert_ne!(light, dark);
    assert!(browser.printed(&swept).starts_with(b"%PDF"));
}
