//! Pages in a headless browser: Chromium, where it is installed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A page as a browser lays it out.
#[derive(Debug)]
pub struct Laid {
    pub page: PathBuf,
    /// Width of the page and of its window: the first is larger where it scrolls.
    pub scroll: f64,
    pub client: f64,
    /// The smallest text of a drawing that is shown, in pixels of the page.
    pub text: f64,
    /// Drawings that are shown.
    pub drawings: usize,
    /// Texts of drawings that cover one another.
    pub overlaps: String,
    /// Texts of drawings that are cut off.
    pub clipped: String,
    /// The colour behind it all.
    pub background: String,
}

/// The reason to skip a test where there is no browser.
pub const NO_BROWSER: &str = "no Chromium (apt-get install chromium)";

/// A browser.
pub struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Browser {
    /// `$SEPCONV_CHROMIUM`, or the first of the usual names on the path.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os("SEPCONV_CHROMIUM").map(PathBuf::from);
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let found = names
            .iter()
            .flat_map(|n| folders.iter().map(move |f| f.join(n)));
        let program = named.into_iter().chain(found).find(|p| p.is_file())?;
        Some(Self {
            program,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn run(&self, options: &[String], page: &Path) -> Vec<u8> {
        // The pages are ours, and a container often can't nest the sandbox.
        let fixed = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--no-first-run",
            "--allow-file-access-from-files",
            "--virtual-time-budget=20000",
        ];
        let profile = self.folder.path().join("profile");
        let output = Command::new(&self.program)
            .args(fixed)
            .arg(format!("--user-data-dir={}", profile.display()))
            .args(options)
            .arg(format!("file://{}", page.display()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", page.display());
        output.stdout
    }

    /// Lays out pages as on a screen of `width` pixels.
    pub fn lay_out(&self, pages: &[PathBuf], width: u32, dark: bool) -> Vec<Laid> {
        let mut html = format!("<!doctype html><meta charset=utf-8><title>-</title>{SCRIPT}");
        for page in pages {
            let _ = write!(
                html,
                "<iframe src=\"file://{}\" style=\"border:0;width:{width}px;height:900px\"></iframe>",
                page.display()
            );
        }
        let wrapper = self.folder.path().join("wrapper.html");
        std::fs::write(&wrapper, html).unwrap();
        let dom = self.run(&["--dump-dom".into(), scheme(dark)], &wrapper);
        let dom = String::from_utf8(dom).unwrap();
        let (_, seen) = dom.split_once("<pre id=\"seen\">").expect(&dom);
        let (seen, _) = seen.split_once("</pre>").unwrap();
        let rows = pages.iter().zip(seen.lines());
        let laid: Vec<Laid> = rows.map(|(page, row)| laid(page, row)).collect();
        assert_eq!(laid.len(), pages.len(), "{seen}");
        laid
    }

    /// A PNG of a page.
    pub fn screenshot(&self, page: &Path, dark: bool) -> Vec<u8> {
        let file = self.folder.path().join("shot.png");
        let options = [
            format!("--screenshot={}", file.display()),
            "--window-size=800,1200".into(),
            scheme(dark),
        ];
        self.run(&options, page);
        std::fs::read(&file).unwrap()
    }

    /// A PDF of a page as it is printed.
    pub fn printed(&self, page: &Path) -> Vec<u8> {
        let file = self.folder.path().join("page.pdf");
        self.run(&[format!("--print-to-pdf={}", file.display())], page);
        std::fs::read(&file).unwrap()
    }
}

/// The reader's preferences.
fn scheme(dark: bool) -> String {
    let scheme = if dark { 0 } else { 1 };
    format!("--blink-settings=preferredColorScheme={scheme}")
}

fn laid(page: &Path, row: &str) -> Laid {
    let fields: Vec<&str> = row.split('\t').collect();
    let number = |i: usize| -> f64 { fields[i].parse().expect(row) };
    Laid {
        page: page.to_owned(),
        scroll: number(0),
        client: number(1),
        text: number(2),
        drawings: number(3) as usize,
        overlaps: fields[4].to_owned(),
        clipped: fields[5].to_owned(),
        background: fields[6].to_owned(),
    }
}

/// Measures every frame and writes a line for each.
const SCRIPT: &str = r#"<script>
onload = () => {
  const rows = [];
  for (const frame of document.querySelectorAll('iframe')) {
    const page = frame.contentDocument, root = page.documentElement;
    const shown = [...page.querySelectorAll('svg[role=img]')].filter(s => s.getClientRects().length);
    let least = 99; const overlaps = [], clipped = [];
    for (const svg of shown) {
      const box = svg.getBoundingClientRect();
      const texts = [...svg.querySelectorAll('text')].map(t => [t, t.getBoundingClientRect()]);
      for (const [t, r] of texts) {
        const size = parseFloat(frame.contentWindow.getComputedStyle(t).fontSize);
        least = Math.min(least, size * svg.getScreenCTM().a);
        if (r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 || r.bottom > box.bottom + 1)
          clipped.push(t.textContent);
      }
      for (let i = 0; i < texts.length; i++) for (let j = 0; j < i; j++) {
        const [a, b] = [texts[i][1], texts[j][1]];
        const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        // Boxes have air above and below the letters, and a halo of 1.5 pixels around them.
        if (w > 3 && h > 6) overlaps.push(texts[i][0].textContent + ' / ' + texts[j][0].textContent);
      }
    }
    const background = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
    rows.push([root.scrollWidth, root.clientWidth, least, shown.length, overlaps.join('; '), clipped.join('; '), background]
      .map(v => String(v).replace(/[\t\n<>&]/g, ' ')).join('\t'));
  }
  const seen = document.createElement('pre');
  seen.id = 'seen';
  seen.textContent = rows.join('\n');
  document.body.append(seen);
};
</script>"#;
