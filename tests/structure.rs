//! Checks the structure of the workspace: the crates depend on each other as ARCHITECTURE.md draws it, files and crates
//! stay small, no two files need each other, and errors are types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Largest number of lines of a source file.
const LONGEST_FILE: usize = 600;

/// Largest fraction of the workspace's lines in one crate.
const LARGEST_CRATE: f64 = 0.25;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below a folder that have one of these extensions, sorted.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The crates of the workspace except tests, examples and the fuzzer: by name, the folder and the workspace crates
/// that it depends on.
fn crates() -> BTreeMap<String, (PathBuf, BTreeSet<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let own: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let excluded = ["custom-reward", "fuzz-runner", "integration-tests"];
    let used = |package: &Value| -> BTreeSet<String> {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
        let names = normal.map(|dependency| dependency["name"].as_str().unwrap());
        names.filter(|name| own.contains(name)).map(str::to_owned).collect()
    };
    packages
        .iter()
        .filter(|package| !excluded.contains(&package["name"].as_str().unwrap()))
        .map(|package| {
            let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
            (package["name"].as_str().unwrap().to_owned(), (folder, used(package)))
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_draws_it() {
    let text = read("ARCHITECTURE.md");
    let drawing = text.split("```crates\n").nth(1).unwrap().split("```").next().unwrap();
    let mut drawn = BTreeMap::new();
    let mut above: BTreeSet<String> = BTreeSet::new();
    for line in drawing.lines() {
        let (name, rest) = line.split_once(' ').unwrap();
        let used = rest.trim_start().strip_prefix('→').unwrap_or_default();
        let used = used.trim_start().split("  ").next().unwrap();
        let used: BTreeSet<String> =
            used.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        assert!(used.is_subset(&above), "`{name}` is drawn above a crate that it depends on");
        above.insert(name.to_owned());
        drawn.insert(name.to_owned(), used);
    }
    let actual: BTreeMap<String, BTreeSet<String>> =
        crates().into_iter().map(|(name, (_, used))| (name, used)).collect();
    assert_eq!(actual, drawn, "correct the drawing in ARCHITECTURE.md, or the dependency");
}

#[test]
fn no_crate_is_too_large_and_no_file_too_long() {
    let mut sizes = BTreeMap::new();
    for (name, (folder, _)) in crates() {
        let mut size = 0;
        for file in files(&folder.join("src"), &["rs", "js", "css", "html"]) {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= LONGEST_FILE, "{}: {lines} lines", file.display());
            size += lines;
        }
        sizes.insert(name, size);
    }
    let total: usize = sizes.values().sum();
    for (name, size) in sizes {
        let fraction = size as f64 / total as f64;
        assert!(fraction < LARGEST_CRATE, "`{name}` has {:.1} % of the lines", 100.0 * fraction);
    }
}

/// Groups of files that need each other, directly or through other files. `uses` has the files that each file uses.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> Vec<Vec<String>> {
    let reach = |from: &String| -> BTreeSet<String> {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = next.pop() {
            for used in uses.get(&file).into_iter().flatten() {
                if seen.insert(used.clone()) {
                    next.push(used.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = uses.keys().map(|file| (file, reach(file))).collect();
    let mut found = BTreeSet::new();
    for (file, targets) in &reached {
        if targets.contains(*file) {
            let members: Vec<String> = targets
                .iter()
                .filter(|other| reached.get(other).is_some_and(|back| back.contains(*file)))
                .cloned()
                .collect();
            found.insert(members);
        }
    }
    found.into_iter().collect()
}

/// The code of a Rust file without its unit tests and its comment lines.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths in the code that start with `root`, as lists of names: `crate::a::{b, c::D}` is `a b` and `a c D`.
fn paths(code: &str, root: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        expand(&code[at + root.len()..], &[], &mut found);
    }
    found
}

/// Reads one path after its root into `found`, and returns its length in bytes.
fn expand(text: &str, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    let mut path = prefix.to_vec();
    loop {
        let rest = &text[at..];
        let name: String =
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '*').collect();
        if !name.is_empty() {
            at += name.len();
            path.push(name);
            if text[at..].starts_with("::") {
                at += 2;
                continue;
            }
            found.push(path);
            return at;
        }
        if !rest.starts_with('{') {
            found.push(path);
            return at;
        }
        at += 1;
        loop {
            let space = text[at..].len() - text[at..].trim_start_matches([' ', '\n', ',']).len();
            at += space;
            if at >= text.len() || text[at..].starts_with('}') {
                return at + 1;
            }
            let read = expand(&text[at..], &path, found);
            at += read;
            // Skips a renaming `as NAME`, which does not change what is used.
            if let Some(renamed) = text[at..].strip_prefix(" as ") {
                let name = renamed.len()
                    - renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
                at += 4 + name;
            } else if read == 0 {
                return at;
            }
        }
    }
}

/// A crate's modules and their files, without test modules.
fn modules(src: &Path) -> BTreeMap<Vec<String>, PathBuf> {
    let mut modules = BTreeMap::new();
    for file in files(src, &["rs"]) {
        let relative = file.strip_prefix(src).unwrap().with_extension("");
        let path: Vec<String> =
            relative.components().map(|part| part.as_os_str().to_str().unwrap().to_owned()).collect();
        let is_test =
            path.last().is_some_and(|name| name == "tests" || name == "fabricate" || name == "fixtures")
                || path.iter().any(|name| name == "tests");
        if !is_test {
            modules.insert(if path == ["lib"] || path == ["main"] { Vec::new() } else { path }, file);
        }
    }
    modules
}

/// The names that a module re-exports, such as `pub use self::child::Name`, each with the path of the item.
fn reexports(module: &[String], text: &str) -> BTreeMap<String, Vec<String>> {
    let mut exported = BTreeMap::new();
    for statement in text.split("pub").skip(1) {
        let statement = statement.trim_start_matches("(crate)").trim_start_matches("(super)").trim_start();
        let Some(statement) = statement.strip_prefix("use ") else { continue };
        let statement = statement.split(';').next().unwrap();
        let mut found = Vec::new();
        expand(statement, &[], &mut found);
        for mut path in found {
            match path.first().map(String::as_str) {
                Some("self") => drop(path.remove(0)),
                Some("crate") | None => continue,
                Some(_) => {}
            }
            if let Some(name) = path.last().cloned() {
                exported.insert(name, [module, &path].concat());
            }
        }
    }
    exported
}

/// For each Rust file of a crate, the files that define the items it uses. Using a re-exported name counts as using the
/// file that defines it.
fn rust_uses(src: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules(src);
    let texts: BTreeMap<&Vec<String>, String> = modules
        .iter()
        .map(|(module, file)| (module, code(&std::fs::read_to_string(file).unwrap())))
        .collect();
    let exported: BTreeMap<&Vec<String>, BTreeMap<String, Vec<String>>> =
        texts.iter().map(|(module, text)| (*module, reexports(module, text))).collect();
    // The module that defines the item at a path, following re-exports.
    let resolve = |path: &[String]| -> Option<Vec<String>> {
        let mut path = path.to_vec();
        for _ in 0..5 {
            let length = (0..=path.len()).rev().find(|&length| modules.contains_key(&path[..length]))?;
            let module = path[..length].to_vec();
            match path.get(length).and_then(|name| exported[&module].get(name)) {
                Some(onward) if *onward != path => path = onward.clone(),
                _ => return Some(module),
            }
        }
        None
    };
    let name = |module: &Vec<String>| modules[module].display().to_string();
    let mut uses = BTreeMap::new();
    for (module, text) in &texts {
        let mut used = BTreeSet::new();
        let own_code: String = text
            .split(';')
            .filter(|statement| !statement.trim_start().starts_with("pub use"))
            .collect::<Vec<_>>()
            .join(";");
        let roots: [(&str, Vec<String>); 4] = [
            ("crate::", Vec::new()),
            ("super::super::", module[..module.len().saturating_sub(2)].to_vec()),
            ("super::", module[..module.len().saturating_sub(1)].to_vec()),
            ("self::", module.to_vec()),
        ];
        for (root, base) in roots {
            for path in paths(&own_code, root) {
                if path.first().is_some_and(|name| name == "super") {
                    continue;
                }
                let target = resolve(&[base.clone(), path].concat());
                used.extend(target.filter(|target| target != *module).map(|target| name(&target)));
            }
        }
        uses.insert(name(module), used);
    }
    uses
}

#[test]
fn no_two_rust_files_need_each_other() {
    for (_, (folder, _)) in crates() {
        let circles = circles(&rust_uses(&folder.join("src")));
        assert!(circles.is_empty(), "move what both need into a third file: {circles:#?}");
    }
}

#[test]
fn no_two_scripts_of_the_live_page_need_each_other() {
    let page = root().join("actors/control/src/page");
    let mut uses = BTreeMap::new();
    for file in files(&page, &["js"]) {
        let text = std::fs::read_to_string(&file).unwrap();
        let imports = text.split(" from \"./").skip(1).filter_map(|rest| rest.split('"').next());
        let used = imports.map(|name| page.join(name).display().to_string()).collect();
        uses.insert(file.display().to_string(), used);
    }
    assert!(uses.len() > 10 && uses.values().any(|used: &BTreeSet<String>| !used.is_empty()));
    assert_eq!(circles(&uses), Vec::<Vec<String>>::new());
}

#[test]
fn the_check_for_circles_finds_one() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("lib.rs", "mod a;\nmod b;\npub use a::{A, One};\n");
    write("a.rs", "use crate::b::{\n    B,\n    C as D,\n};\npub struct A;\npub struct One;\n");
    write("b.rs", "pub struct B;\npub struct C;\n#[cfg(test)]\nmod tests {\n    use crate::A;\n}\n");
    assert_eq!(circles(&rust_uses(folder.path())), Vec::<Vec<String>>::new());
    write("b.rs", "pub struct B(crate::A);\npub struct C;\n");
    let found = circles(&rust_uses(folder.path()));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0][0].ends_with("a.rs") && found[0][1].ends_with("b.rs"));
}

#[test]
fn the_code_map_names_files_that_contain_the_item() {
    let text = read("ARCHITECTURE.md");
    let map = text.split("## Code map").nth(1).unwrap();
    let mut rows = 0;
    for row in map.lines().filter(|line| line.starts_with("| ") && line.contains("| `")) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, _, file, item, _] = cells[..] else { panic!("{row}") };
        assert!(read(file).contains(item), "{file} does not contain `{item}`");
        rows += 1;
    }
    assert!(rows >= 20, "{rows} rows");
}

/// The last of several generic arguments: `D` of `A<B, C>, D> {`.
fn last_argument(text: &str) -> Option<&str> {
    let (mut depth, mut last) = (0, None);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' if depth == 0 => return last.map(|from| text[from..at].trim()),
            '>' if text[..at].ends_with('-') => {}
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => last = Some(at + 1),
            _ => {}
        }
    }
    None
}

#[test]
fn errors_are_types() {
    let untyped = ["Vec<u8>, String> {", "(A, B<C>), String>", "(), String>>"];
    assert!(untyped.iter().all(|text| last_argument(text) == Some("String")));
    assert_eq!(last_argument("BTreeMap<String, String>, ReadError>"), Some("ReadError"));
    assert_eq!(last_argument("String>"), None);
    for (_, (folder, _)) in crates() {
        let unit_tests = |file: &PathBuf| {
            file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
        };
        for file in files(&folder.join("src"), &["rs"]).into_iter().filter(|file| !unit_tests(file)) {
            let text = code(&std::fs::read_to_string(&file).unwrap());
            for (number, line) in text.lines().enumerate() {
                let untyped = line
                    .match_indices("Result<")
                    .any(|(at, found)| last_argument(&line[at + found.len()..]) == Some("String"));
                assert!(!untyped, "{}: line {} of its code: {line}", file.display(), number + 1);
            }
        }
    }
}
