//! Keys of OpenAPI 2 in another case. The original's reader takes them in any (as Go's does for the fields of a struct), so real
//! projects have them; for OpenAPI 3 it has another reader, which doesn't.

use super::paths::METHODS;
use crate::document::diagnostic::{Findings, Pointer};
use crate::document::value::{Object, Value};

const ROOT: &[&str] = &[
    "basePath",
    "definitions",
    "externalDocs",
    "host",
    "info",
    "parameters",
    "paths",
    "responses",
    "schemes",
    "security",
    "securityDefinitions",
    "tags",
];
const INFO: &[&str] = &["description", "title", "version"];
const OPERATION: &[&str] = &["parameters", "responses", "schemes", "security"];
const SCHEME: &[&str] = &["in", "name", "type"];

/// Gives the keys of a definition that are looked at the case they have in the standard, and tells each that had another. Names that
/// the definition chooses itself stay, and so do vendor extensions. Of a key that is there in its own case as well, the others have
/// no effect.
pub(crate) fn correct(file: &str, root: &mut Value, findings: &mut Findings) {
    let Some(root) = root.as_object_mut() else { return };
    let top = Pointer::Root;
    keys(file, &top, root, ROOT, findings);
    if let Some(info) = root.get_mut("info").and_then(Value::as_object_mut) {
        keys(file, &top.key("info"), info, INFO, findings);
    }
    let schemes = top.key("securityDefinitions");
    for (name, scheme) in objects(root.get_mut("securityDefinitions")) {
        keys(file, &schemes.key(name), scheme, SCHEME, findings);
    }
    let paths = top.key("paths");
    for (path, item) in objects(root.get_mut("paths")) {
        if !path.starts_with('/') {
            continue;
        }
        let pointer = paths.key(path);
        let known = [METHODS.as_slice(), &["parameters"]].concat();
        keys(file, &pointer, item, &known, findings);
        for method in METHODS {
            if let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) {
                keys(file, &pointer.key(method), operation, OPERATION, findings);
            }
        }
    }
}

/// The objects in an object.
fn objects(value: Option<&mut Value>) -> impl Iterator<Item = (&String, &mut Object)> {
    let members = value.and_then(Value::as_object_mut).into_iter().flatten();
    members.filter_map(|(name, value)| Some((name, value.as_object_mut()?)))
}

/// Corrects the keys of one object.
fn keys(file: &str, pointer: &Pointer<'_>, object: &mut Object, known: &[&str], findings: &mut Findings) {
    let meant = |key: &str| {
        let name = known.iter().find(|name| name.eq_ignore_ascii_case(key))?;
        (*name != key).then(|| (*name).to_owned())
    };
    if object.keys().all(|key| meant(key).is_none()) {
        return;
    }
    let mut corrected = Object::with_capacity(object.len());
    let (others, exact): (Vec<_>, Vec<_>) = object.drain(..).partition(|(key, _)| meant(key).is_some());
    corrected.extend(exact);
    for (key, value) in others {
        let Some(name) = meant(&key) else { continue };
        let place = pointer.key(&key);
        if corrected.contains_key(&name) {
            findings.warning(file, &place, format!("ignored: {name} is given as well"));
            continue;
        }
        findings.warning(file, &place, format!("taken for {name}: write it in this case"));
        corrected.insert(name, value);
    }
    *object = corrected;
}
