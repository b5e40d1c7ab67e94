//! Which file of a crate needs which: every name is followed to the file that declares what it stands for.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::algo::tarjan_scc;
use petgraph::graph::DiGraph;

use super::source::{Crate, Import, Way};

/// Above this many files, a circle's cuts are not looked for: the work doubles with each.
const WEIGHED: usize = 18;

/// From one file to another, indices into [`Graph::files`], with what it is for.
pub(super) type Arrows = BTreeMap<(usize, usize), BTreeSet<String>>;

/// The files of a crate and their arrows.
#[derive(Debug)]
pub(super) struct Graph {
    /// Package.
    pub(super) name: String,
    /// Paths below `src`.
    pub(super) files: Vec<String>,
    pub(super) arrows: Arrows,
}

/// Files, or rooms, that all need one another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle {
    pub(super) members: Vec<String>,
    /// The fewest arrows without which there is no circle; empty when there are too many members to look for them.
    pub(super) cuts: Vec<String>,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Module(usize),
    /// Something declared in the file.
    Item(usize),
    /// Of another crate, of the language, or unknown.
    Outside,
}

impl Circle {
    /// The room that all members, files, lie in.
    pub(super) fn room(&self) -> Option<&str> {
        let (first, rest) = self.members.split_first()?;
        rest.iter()
            .all(|other| room(other) == room(first))
            .then(|| room(first))
    }
}

impl Graph {
    pub(super) fn new(own: &Crate) -> Self {
        let mut arrows = Arrows::new();
        for (at, module) in own.modules.iter().enumerate() {
            let mut arrow = |way: &Way, found: Found| {
                if let Found::Item(file) = found
                    && file != module.file
                {
                    let name = way.item().to_owned();
                    arrows.entry((module.file, file)).or_default().insert(name);
                }
            };
            let imports = module.imports.values().flatten();
            for Import { way, .. } in imports.filter(|import| !import.passed_on) {
                arrow(way, resolve(own, at, way, &mut Seen::new()));
            }
            for Import { way, .. } in module.globs.iter().filter(|import| !import.passed_on) {
                let found = match resolve(own, at, way, &mut Seen::new()) {
                    Found::Module(module) => Found::Item(own.modules[module].file),
                    other => other,
                };
                arrow(way, found);
            }
            for way in &module.named {
                let found = match way.names.as_slice() {
                    // The name of a variable may be that of a module or of something declared beside it.
                    [name] if module.items.contains(name) || module.children.contains_key(name) => continue,
                    [name] => lookup(own, at, name, true, &mut Seen::new()).unwrap_or(Found::Outside),
                    _ => resolve(own, at, way, &mut Seen::new()),
                };
                arrow(way, found);
            }
        }
        Self {
            name: own.name.clone(),
            files: own.files.clone(),
            arrows,
        }
    }

    /// The folder or file directly below `src` that a file belongs to.
    fn room(&self, file: usize) -> &str {
        room(&self.files[file])
    }

    /// All of them.
    pub(super) fn rooms(&self) -> BTreeSet<&str> {
        self.files.iter().map(|file| room(file)).collect()
    }

    /// Arrows between rooms, with the arrows between files that they are made of.
    pub(super) fn between(&self) -> BTreeMap<(&str, &str), Vec<String>> {
        let mut rooms: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (&(from, to), names) in &self.arrows {
            let ends = (self.room(from), self.room(to));
            if ends.0 != ends.1 {
                rooms.entry(ends).or_default().push(self.arrow(from, to, names));
            }
        }
        rooms
    }

    fn arrow(&self, from: usize, to: usize, names: &BTreeSet<String>) -> String {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        format!(
            "{} -> {} ({})",
            self.files[from],
            self.files[to],
            names.join(", ")
        )
    }

    /// Circles of files.
    pub(super) fn circles(&self) -> Vec<Circle> {
        let told = |from, to| match self.arrows.get(&(from, to)) {
            Some(names) => self.arrow(from, to, names),
            None => String::new(),
        };
        let edges = self.arrows.keys().copied().collect();
        circles(&self.files, &edges, told)
    }

    /// Circles of rooms.
    pub(super) fn room_circles(&self) -> Vec<Circle> {
        let between = self.between();
        let names: BTreeSet<_> = between.keys().flat_map(|&(from, to)| [from, to]).collect();
        let names: Vec<_> = names.into_iter().map(str::to_owned).collect();
        let at = |name: &str| names.iter().position(|found| found == name).unwrap_or_default();
        let edges = between.keys().map(|&(from, to)| (at(from), at(to))).collect();
        circles(&names, &edges, |from, to| {
            let ends = (names[from].as_str(), names[to].as_str());
            let files = between.get(&ends).map(|files| files.join("; "));
            format!("{} -> {}: {}", ends.0, ends.1, files.unwrap_or_default())
        })
    }
}

/// See [`Graph::room`].
fn room(path: &str) -> &str {
    let first = path.split('/').next().unwrap_or(path);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Modules and names that are being looked up: imports may go in circles.
type Seen = BTreeSet<(usize, String)>;

fn resolve(own: &Crate, from: usize, way: &Way, seen: &mut Seen) -> Found {
    let Some((first, rest)) = way.names.split_first() else {
        return Found::Module(from);
    };
    let mut at = if way.outside {
        None
    } else {
        start(own, from, first, rest.is_empty(), seen)
    };
    // `main.rs` names the library beside it as everybody does.
    if at.is_none() && *first == own.name.replace('-', "_") {
        at = Some(Found::Module(0));
    }
    for (index, name) in rest.iter().enumerate() {
        let Some(Found::Module(module)) = at else { break };
        let found = match name.as_str() {
            "self" => Some(Found::Module(module)),
            "super" => own.modules[module].parent.map(Found::Module),
            name => lookup(own, module, name, index + 1 == rest.len(), seen),
        };
        // What a macro declares cannot be seen, but the module is ours.
        at = Some(found.unwrap_or(Found::Item(own.modules[module].file)));
    }
    at.unwrap_or(Found::Outside)
}

fn start(own: &Crate, from: usize, first: &str, last: bool, seen: &mut Seen) -> Option<Found> {
    match first {
        "crate" => {
            let mut root = from;
            while let Some(parent) = own.modules[root].parent {
                root = parent;
            }
            Some(Found::Module(root))
        }
        "self" => Some(Found::Module(from)),
        "super" => own.modules[from].parent.map(Found::Module),
        name => lookup(own, from, name, last, seen),
    }
}

fn lookup(own: &Crate, module: usize, name: &str, last: bool, seen: &mut Seen) -> Option<Found> {
    let found = &own.modules[module];
    let item = found.items.contains(name).then_some(Found::Item(found.file));
    let child = found.children.get(name).map(|&child| Found::Module(child));
    // A function and a module may share a name; a path goes on through the module.
    let declared = if last { item.or(child) } else { child.or(item) };
    if declared.is_some() {
        return declared;
    }
    if !seen.insert((module, name.into())) {
        return None;
    }
    let mut outside = None;
    for Import { way, .. } in found.imports.get(name).into_iter().flatten() {
        match resolve(own, module, way, seen) {
            Found::Outside => outside = Some(Found::Outside),
            ours => return Some(ours),
        }
    }
    outside.or_else(|| globbed(own, module, name, seen))
}

fn globbed(own: &Crate, module: usize, name: &str, seen: &mut Seen) -> Option<Found> {
    own.modules[module].globs.iter().find_map(|Import { way, .. }| {
        let Found::Module(from) = resolve(own, module, way, seen) else {
            return None;
        };
        lookup(own, from, name, true, seen)
    })
}

fn circles(
    names: &[String],
    edges: &BTreeSet<(usize, usize)>,
    told: impl Fn(usize, usize) -> String,
) -> Vec<Circle> {
    let mut graph = DiGraph::<(), ()>::new();
    let nodes: Vec<_> = names.iter().map(|_| graph.add_node(())).collect();
    for &(from, to) in edges {
        graph.add_edge(nodes[from], nodes[to], ());
    }
    let mut found = Vec::new();
    for part in tarjan_scc(&graph) {
        if part.len() < 2 {
            continue;
        }
        let mut members: Vec<_> = part.into_iter().map(|node| node.index()).collect();
        members.sort_by_key(|&member| &names[member]);
        found.push(Circle {
            cuts: cuts(&members, edges)
                .into_iter()
                .map(|(from, to)| told(from, to))
                .collect(),
            members: members.into_iter().map(|member| names[member].clone()).collect(),
        });
    }
    found.sort_by(|a, b| a.members.cmp(&b.members));
    found
}

/// The fewest arrows to cut: the best order of `members`, found set by set, has the fewest that go up.
fn cuts(members: &[usize], edges: &BTreeSet<(usize, usize)>) -> Vec<(usize, usize)> {
    if members.len() > WEIGHED {
        return Vec::new();
    }
    let needs: Vec<u32> = members
        .iter()
        .map(|&from| {
            let ends = members.iter().enumerate();
            ends.fold(0, |bits, (bit, &to)| {
                bits | u32::from(edges.contains(&(from, to))) << bit
            })
        })
        .collect();
    // For each set that stands lowest: the fewest arrows that go up inside of it and from it, and who stands on top of it.
    let sets = 1_usize << members.len();
    let mut best = vec![(u32::MAX, 0_usize); sets];
    best[0].0 = 0;
    for below in 0..sets {
        for (top, needed) in needs.iter().enumerate().filter(|(top, _)| below >> top & 1 == 0) {
            // What it needs and is not below it, itself apart.
            let up =
                (0..members.len()).filter(|&to| needed >> to & 1 == 1 && below >> to & 1 == 0 && to != top);
            let count = u32::try_from(up.count()).unwrap_or(u32::MAX);
            let cost = best[below].0.saturating_add(count);
            let with = below | 1 << top;
            if cost < best[with].0 {
                best[with] = (cost, top);
            }
        }
    }
    let mut cut = Vec::new();
    let mut set = sets - 1;
    while set != 0 {
        let top = best[set].1;
        set &= !(1 << top);
        for (to, &file) in members.iter().enumerate() {
            if to != top && needs[top] >> to & 1 == 1 && set >> to & 1 == 0 {
                cut.push((members[top], file));
            }
        }
    }
    cut.sort_unstable();
    cut
}
