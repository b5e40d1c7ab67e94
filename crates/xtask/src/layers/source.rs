//! A crate's sources as modules: what each declares, imports and names.
//!
//! The syntax alone is read, nothing is expanded: what a macro declares is unknown, what is named inside of its arguments is
//! not. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use syn::buffer::{Cursor, TokenBuffer};
use syn::ext::IdentExt as _;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, Meta, TraitItem, UseTree, Visibility};

/// Path below `src`, and text.
pub(super) type Files = BTreeMap<String, String>;

/// The modules of a crate; a library's root comes first.
#[derive(Debug)]
pub(super) struct Crate {
    /// Package.
    pub(super) name: String,
    /// Paths below `src`, in the order in which they were reached.
    pub(super) files: Vec<String>,
    pub(super) modules: Vec<Module>,
}

/// A file's module, or one written inside of a file.
#[derive(Debug, Default)]
pub(super) struct Module {
    /// Index into the crate's files.
    pub(super) file: usize,
    /// `None`: a root.
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    /// What is declared here by name, modules apart.
    pub(super) items: BTreeSet<String>,
    /// What a name stands for here; more than one for a type and a function of one name.
    pub(super) imports: BTreeMap<String, Vec<Import>>,
    /// `use way::*`.
    pub(super) globs: Vec<Import>,
    /// What the code names.
    pub(super) named: BTreeSet<Way>,
}

/// One name of a `use`.
#[derive(Debug, Clone)]
pub(super) struct Import {
    pub(super) way: Way,
    /// `pub use` and its kind: it passes a name on and, like `mod`, needs nothing by itself.
    pub(super) passed_on: bool,
}

/// A path as it is written, without its generics.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    /// Begins with `::`.
    pub(super) outside: bool,
    pub(super) names: Vec<String>,
}

/// Every Rust file below `src`, by its path there.
///
/// # Errors
/// What cannot be read.
pub(super) fn files(src: &Path) -> anyhow::Result<Files> {
    let mut found = Files::new();
    let mut folders = vec![src.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                let below = path.strip_prefix(src)?.to_string_lossy().replace('\\', "/");
                found.insert(below, text);
            }
        }
    }
    Ok(found)
}

impl Crate {
    /// Reads what `lib.rs` and `main.rs` reach.
    ///
    /// # Errors
    /// A text that is not Rust, and a module without a file.
    pub(super) fn read(name: &str, files: &Files) -> anyhow::Result<Self> {
        let mut own = Self {
            name: name.into(),
            files: Vec::new(),
            modules: Vec::new(),
        };
        for root in ["lib.rs", "main.rs"] {
            if files.contains_key(root) {
                own.file(files, root, None)?;
            }
        }
        Ok(own)
    }

    fn file(&mut self, files: &Files, path: &str, parent: Option<usize>) -> anyhow::Result<usize> {
        let place = || format!("{} {path}", self.name);
        let text = files
            .get(path)
            .with_context(|| format!("{}: no such file", place()))?;
        let parsed = syn::parse_file(text).with_context(place)?;
        self.files.push(path.into());
        let module = Module {
            file: self.files.len() - 1,
            parent,
            ..Module::default()
        };
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let stem = file.trim_end_matches(".rs");
        let inside = match stem {
            "mod" | "lib" | "main" => folder.to_owned(),
            stem => join(folder, stem),
        };
        self.module(files, module, &inside, &parsed.items)
    }

    /// Reads `items` into a module whose own modules are files of `folder`.
    fn module(
        &mut self,
        files: &Files,
        module: Module,
        folder: &str,
        items: &[Item],
    ) -> anyhow::Result<usize> {
        let (own, file) = (self.modules.len(), module.file);
        self.modules.push(module);
        for item in items.iter().filter(|item| !of_tests(attributes(item))) {
            let Item::Mod(declared) = item else {
                let module = &mut self.modules[own];
                module.items.extend(declares(item));
                Reader(module).visit_item(item);
                continue;
            };
            let name = declared.ident.unraw().to_string();
            if name == "tests" {
                continue;
            }
            if declared.attrs.iter().any(|found| found.path().is_ident("path")) {
                bail!("{}: the path of mod {name} is not followed", self.name);
            }
            let below = join(folder, &name);
            let child = if let Some((_, items)) = &declared.content {
                let module = Module {
                    file,
                    parent: Some(own),
                    ..Module::default()
                };
                self.module(files, module, &below, items)?
            } else {
                let flat = format!("{below}.rs");
                let path = if files.contains_key(&flat) {
                    flat
                } else {
                    format!("{below}/mod.rs")
                };
                self.file(files, &path, Some(own))?
            };
            self.modules[own].children.insert(name, child);
        }
        Ok(own)
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.into()
    } else {
        format!("{folder}/{name}")
    }
}

/// Compiled for tests only.
fn of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg") && attribute.parse_args().is_ok_and(|meta| needs_test(&meta))
    })
}

fn needs_test(meta: &Meta) -> bool {
    let Meta::List(list) = meta else {
        return meta.path().is_ident("test");
    };
    let inner = list.parse_args_with(syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated);
    let Ok(inner) = inner else { return false };
    if list.path.is_ident("all") {
        inner.iter().any(needs_test)
    } else {
        list.path.is_ident("any") && inner.iter().all(needs_test)
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn declares(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.unraw().to_string())
}

/// Notes imports and paths of the code that it visits.
struct Reader<'a>(&'a mut Module);

impl Reader<'_> {
    fn import(&mut self, tree: &UseTree, import: &Import) {
        match tree {
            UseTree::Path(path) => self.import(&path.tree, &import.to(&path.ident)),
            UseTree::Name(name) => self.bind(import.to(&name.ident), None),
            UseTree::Rename(name) => self.bind(import.to(&name.ident), Some(name.rename.unraw().to_string())),
            UseTree::Glob(_) => self.0.globs.push(import.clone()),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, import);
                }
            }
        }
    }

    fn bind(&mut self, mut import: Import, bound: Option<String>) {
        // `use a::{self}` binds `a`.
        if import.way.names.len() > 1 && import.way.names.last().is_some_and(|last| last == "self") {
            import.way.names.pop();
        }
        let last = import.way.names.last().cloned();
        if let Some(bound) = bound.or(last) {
            self.0.imports.entry(bound).or_default().push(import);
        }
    }

    fn tokens(&mut self, cursor: Cursor<'_>, literals: bool) {
        let mut rest = cursor;
        let mut way = Way::default();
        let mut colons = 0;
        while !rest.eof() {
            if let Some((ident, next)) = rest.ident() {
                if colons != 2 {
                    self.note(&mut way);
                }
                way.outside |= colons == 2 && way.names.is_empty();
                way.names.push(ident.unraw().to_string());
                (rest, colons) = (next, 0);
            } else if let Some((sign, next)) = rest.punct() {
                colons = if sign.as_char() == ':' { colons + 1 } else { 0 };
                if colons == 0 {
                    self.note(&mut way);
                }
                rest = next;
            } else {
                self.note(&mut way);
                colons = 0;
                if let Some((inner, _, _, next)) = rest.any_group() {
                    self.tokens(inner, literals);
                    rest = next;
                } else if let Some((literal, next)) = rest.literal() {
                    if literals && let syn::Lit::Str(text) = syn::Lit::new(literal) {
                        // `#[serde(with = "a::b")]`.
                        if let Ok(path) = text.parse::<syn::Path>() {
                            self.visit_path(&path);
                        }
                    }
                    rest = next;
                } else {
                    return;
                }
            }
        }
        self.note(&mut way);
    }

    fn note(&mut self, way: &mut Way) {
        let way = std::mem::take(way);
        if !way.names.is_empty() {
            self.0.named.insert(way);
        }
    }
}

impl Way {
    /// The type that it names, or else the last name.
    pub(super) fn item(&self) -> &str {
        let mut names = self.names.iter();
        let item = names.find(|name| name.starts_with(char::is_uppercase));
        item.or(self.names.last()).map_or("", String::as_str)
    }
}

impl Import {
    fn to(&self, name: &syn::Ident) -> Self {
        let mut import = self.clone();
        import.way.names.push(name.unraw().to_string());
        import
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !of_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let import = Import {
            way: Way {
                outside: item.leading_colon.is_some(),
                names: Vec::new(),
            },
            passed_on: !matches!(item.vis, Visibility::Inherited),
        };
        self.import(&item.tree, &import);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            _ => return,
        };
        if !of_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes = match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            _ => return,
        };
        if !of_tests(attributes) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !of_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if !of_tests(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        if !of_tests(&field.attrs) {
            visit::visit_field_value(self, field);
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if !of_tests(&arm.attrs) {
            visit::visit_arm(self, arm);
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        if !of_tests(&local.attrs) {
            visit::visit_local(self, local);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path
            .segments
            .iter()
            .map(|segment| segment.ident.unraw().to_string());
        self.note(&mut Way {
            outside: path.leading_colon.is_some(),
            names: names.collect(),
        });
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        self.visit_path(&found.path);
        self.tokens(TokenBuffer::new2(found.tokens.clone()).begin(), false);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(TokenBuffer::new2(list.tokens.clone()).begin(), true);
        }
    }

    /// Who may see it says nothing of what it needs.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}
