//! Serves the live page, whose files are embedded in the binary.

use axum::Router;
use axum::http::header;
use axum::routing::get;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Path, media type and content of each file.
const FILES: &[(&str, &str, &str)] = &[
    ("/actors.js", JS, include_str!("page/actors.js")),
    ("/alarms.js", JS, include_str!("page/alarms.js")),
    ("/api.js", JS, include_str!("page/api.js")),
    ("/axis.js", JS, include_str!("page/axis.js")),
    ("/bars.js", JS, include_str!("page/bars.js")),
    ("/bookmarks.js", JS, include_str!("page/bookmarks.js")),
    ("/breakdown.js", JS, include_str!("page/breakdown.js")),
    ("/colours.js", JS, include_str!("page/colours.js")),
    ("/compare.js", JS, include_str!("page/compare.js")),
    ("/completions.js", JS, include_str!("page/completions.js")),
    ("/connection.js", JS, include_str!("page/connection.js")),
    ("/controls.js", JS, include_str!("page/controls.js")),
    ("/curve-plots.js", JS, include_str!("page/curve-plots.js")),
    ("/curve-tools.js", JS, include_str!("page/curve-tools.js")),
    ("/curves.js", JS, include_str!("page/curves.js")),
    ("/diff.js", JS, include_str!("page/diff.js")),
    ("/dom.js", JS, include_str!("page/dom.js")),
    ("/door.js", JS, include_str!("page/door.js")),
    ("/editor.js", JS, include_str!("page/editor.js")),
    ("/entries.js", JS, include_str!("page/entries.js")),
    ("/fork.js", JS, include_str!("page/fork.js")),
    ("/frames.js", JS, include_str!("page/frames.js")),
    ("/gestures.js", JS, include_str!("page/gestures.js")),
    ("/icon.svg", SVG, include_str!("page/icon.svg")),
    ("/", HTML, include_str!("page/index.html")),
    ("/inks.js", JS, include_str!("page/inks.js")),
    ("/journal.js", JS, include_str!("page/journal.js")),
    ("/keys.js", JS, include_str!("page/keys.js")),
    ("/latency.js", JS, include_str!("page/latency.js")),
    ("/lines.js", JS, include_str!("page/lines.js")),
    ("/link.js", JS, include_str!("page/link.js")),
    ("/main.js", JS, include_str!("page/main.js")),
    ("/marks.js", JS, include_str!("page/marks.js")),
    ("/outcome.js", JS, include_str!("page/outcome.js")),
    ("/page.css", CSS, include_str!("page/page.css")),
    ("/panels.css", CSS, include_str!("page/panels.css")),
    ("/place.js", JS, include_str!("page/place.js")),
    ("/plot.js", JS, include_str!("page/plot.js")),
    ("/plots.js", JS, include_str!("page/plots.js")),
    ("/preview.js", JS, include_str!("page/preview.js")),
    ("/reward-dialog.js", JS, include_str!("page/reward-dialog.js")),
    ("/rewards.js", JS, include_str!("page/rewards.js")),
    ("/scope.js", JS, include_str!("page/scope.js")),
    ("/series.js", JS, include_str!("page/series.js")),
    ("/settings.js", JS, include_str!("page/settings.js")),
    ("/shown.js", JS, include_str!("page/shown.js")),
    ("/signals.js", JS, include_str!("page/signals.js")),
    ("/stale.js", JS, include_str!("page/stale.js")),
    ("/store.js", JS, include_str!("page/store.js")),
    ("/strokes.js", JS, include_str!("page/strokes.js")),
    ("/sync.js", JS, include_str!("page/sync.js")),
    ("/theme.js", JS, include_str!("page/theme.js")),
    ("/tip.js", JS, include_str!("page/tip.js")),
    ("/versions.js", JS, include_str!("page/versions.js")),
    ("/view.js", JS, include_str!("page/view.js")),
    ("/weights.js", JS, include_str!("page/weights.js")),
    ("/what-if.js", JS, include_str!("page/what-if.js")),
    ("/workbench.css", CSS, include_str!("page/workbench.css")),
];

/// Whether this is the path of a file of the page. The files contain nothing of the run, so that they need no token.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

/// Routes for the files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |router, &(path, kind, content)| {
        router.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], content) }))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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

    /// The modules that each script imports.
    fn imports() -> BTreeMap<&'static str, Vec<&'static str>> {
        let imported = |script: &'static str| -> Vec<&'static str> {
            script.split("from \".").skip(1).filter_map(|rest| rest.split('"').next()).collect()
        };
        let scripts = FILES.iter().filter(|(_, kind, _)| *kind == JS);
        scripts.map(|(path, _, script)| (*path, imported(script))).collect()
    }

    #[test]
    fn no_two_scripts_need_each_other() {
        let mut rest = imports();
        assert!(rest["/main.js"].contains(&"/curves.js"), "{rest:?}");
        // Take away scripts that need no other one of the rest, until none is left.
        while !rest.is_empty() {
            let is_free = |needs: &Vec<&str>| !needs.iter().any(|need| rest.contains_key(need));
            let free: Vec<&str> =
                rest.iter().filter(|(_, needs)| is_free(needs)).map(|(path, _)| *path).collect();
            assert!(!free.is_empty(), "a circle of imports among {:?}", rest.keys());
            rest.retain(|path, _| !free.contains(path));
        }
    }
}
