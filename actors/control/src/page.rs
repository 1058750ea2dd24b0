//! The page: plain files, built into the program.

use axum::Router;
use axum::http::header;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Where each file is served, what it is, and the file.
const FILES: &[(&str, &str, &str)] = &[
    ("/actors.js", JS, include_str!("page/actors.js")),
    ("/api.js", JS, include_str!("page/api.js")),
    ("/breakdown.js", JS, include_str!("page/breakdown.js")),
    ("/completions.js", JS, include_str!("page/completions.js")),
    ("/controls.js", JS, include_str!("page/controls.js")),
    ("/curves.js", JS, include_str!("page/curves.js")),
    ("/dom.js", JS, include_str!("page/dom.js")),
    ("/editor.js", JS, include_str!("page/editor.js")),
    ("/formula.js", JS, include_str!("page/formula.js")),
    ("/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/", HTML, include_str!("page/index.html")),
    ("/journal.js", JS, include_str!("page/journal.js")),
    ("/main.js", JS, include_str!("page/main.js")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/panels.css", CSS, include_str!("page/panels.css")),
    ("/plot.js", JS, include_str!("page/plot.js")),
    ("/rewards.js", JS, include_str!("page/rewards.js")),
    ("/series.js", JS, include_str!("page/series.js")),
    ("/store.js", JS, include_str!("page/store.js")),
    ("/swap.js", JS, include_str!("page/swap.js")),
    ("/view.js", JS, include_str!("page/view.js")),
    ("/weights.js", JS, include_str!("page/weights.js")),
];

/// Serves the files; they hold nothing of the run, so no token is asked for.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, content)| {
        router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], content) }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/page");
        let names =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut there: Vec<String> =
            names.map(|name| format!("/{name}").replace("/index.html", "/")).collect();
        there.sort();
        let mut served: Vec<&str> = FILES.iter().map(|(path, ..)| *path).collect();
        served.sort_unstable();
        assert_eq!(served, there);
    }
}
