//! Volumes and their mounts. Of the kinds of volume only those are looked into that the sandbox takes.

use serde_json::Value;

use super::{
    super::{
        field::{Errors, Field, complain},
        syntax,
    },
    containers,
};

/// The names of the volumes that mounts may use.
pub(super) type Volumes = Vec<String>;

/// What `fieldRef` of a file may name.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// The complaint about a file's mode.
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// `spec.volumes`; gives the names of those that are in order.
pub(super) fn volumes(list: &Field<'_>, errors: &mut Errors) -> Volumes {
    let mut names = Volumes::new();
    list.each(|_, volume| {
        let before = errors.len();
        source(&volume, errors);
        let name = volume.child("name");
        if name.text().is_empty() {
            errors.push(name.required(""));
        } else {
            complain(&name, syntax::dns_label(name.text()), errors);
        }
        if names.iter().any(|known| known == name.text()) {
            errors.push(name.duplicate());
        }
        if errors.len() == before {
            names.push(name.text().to_owned());
        }
    });
    names
}

fn source(volume: &Field<'_>, errors: &mut Errors) {
    let mut sources = volume.entries().map(|(name, _)| name).filter(|name| *name != "name");
    let Some(first) = sources.next() else {
        errors.push(volume.required("must specify a volume type"));
        return;
    };
    for more in sources {
        errors.push(volume.child(more).forbidden("may not specify more than 1 volume type"));
    }
    let field = volume.child(first);
    match first {
        "hostPath" => {
            let path = field.child("path");
            if path.text().is_empty() {
                errors.push(path.required(""));
            } else {
                no_backsteps(&path, errors);
            }
            let kinds =
                ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
            let kind = field.child("type");
            if !kinds.contains(&kind.text()) {
                errors.push(kind.not_supported(&kinds));
            }
        }
        "secret" => named_files(&field, "secretName", errors),
        "configMap" => named_files(&field, "name", errors),
        "persistentVolumeClaim" => {
            let claim = field.child("claimName");
            if claim.text().is_empty() {
                errors.push(claim.required(""));
            }
        }
        "downwardAPI" => {
            mode(&field.child("defaultMode"), errors);
            field.child("items").each(|_, item| downward_file(&item, errors));
        }
        "projected" => projected(&field, errors),
        _ => {}
    }
}

fn named_files(source: &Field<'_>, name: &str, errors: &mut Errors) {
    let name = source.child(name);
    if name.text().is_empty() {
        errors.push(name.required(""));
    }
    mode(&source.child("defaultMode"), errors);
    source.child("items").each(|_, item| key_to_path(&item, errors));
}

fn key_to_path(item: &Field<'_>, errors: &mut Errors) {
    for name in ["key", "path"] {
        let field = item.child(name);
        if field.text().is_empty() {
            errors.push(field.required(""));
        }
    }
    file_path(&item.child("path"), errors);
    mode(&item.child("mode"), errors);
}

fn downward_file(item: &Field<'_>, errors: &mut Errors) {
    let path = item.child("path");
    if path.text().is_empty() {
        errors.push(path.required(""));
    }
    file_path(&path, errors);
    let (field, resource) = (item.child("fieldRef"), item.child("resourceFieldRef"));
    match (field.is_set(), resource.is_set()) {
        (true, both) => {
            containers::field_reference(&field, &FILE_FIELDS, errors);
            if both {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(item.with(&Value::from("resource")).invalid(why));
            }
        }
        (false, true) => containers::resource_reference(&resource, true, errors),
        (false, false) => errors.push(item.required("one of fieldRef and resourceFieldRef is required")),
    }
    mode(&item.child("mode"), errors);
}

fn projected(projected: &Field<'_>, errors: &mut Errors) {
    mode(&projected.child("defaultMode"), errors);
    projected.child("sources").each(|_, source| {
        for name in ["secret", "configMap"] {
            let field = source.child(name);
            if field.is_set() {
                named_files(&field, "name", errors);
            }
        }
        source.child("downwardAPI").child("items").each(|_, item| downward_file(&item, errors));
        let token = source.child("serviceAccountToken");
        if !token.is_set() {
            return;
        }
        let (expiration, path) = (token.child("expirationSeconds"), token.child("path"));
        if expiration.int() < 600 {
            errors.push(expiration.invalid("may not specify a duration less than 10 minutes"));
        }
        if path.text().is_empty() {
            errors.push(path.required(""));
        } else {
            file_path(&path, errors);
        }
    });
}

fn mode(mode: &Field<'_>, errors: &mut Errors) {
    if mode.is_set() && !(0..=0o777).contains(&mode.int()) {
        errors.push(mode.invalid(MODE));
    }
}

fn file_path(path: &Field<'_>, errors: &mut Errors) {
    descending(path, errors);
    if path.text().starts_with("..") && !path.text().starts_with("../") && path.text() != ".." {
        errors.push(path.invalid("must not start with '..'"));
    }
}

fn descending(path: &Field<'_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.push(path.invalid("must be a relative path"));
    }
    no_backsteps(path, errors);
}

fn no_backsteps(path: &Field<'_>, errors: &mut Errors) {
    if path.text().split('/').any(|part| part == "..") {
        errors.push(path.invalid("must not contain '..'"));
    }
}

/// `volumeMounts` of a container.
pub(super) fn mounts(container: &Field<'_>, volumes: &Volumes, errors: &mut Errors) {
    let list = container.child("volumeMounts");
    let mut paths = Vec::new();
    list.each(|_, mount| {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        if name.text().is_empty() {
            errors.push(name.required(""));
        }
        if !volumes.iter().any(|known| known == name.text()) {
            errors.push(name.not_found());
        }
        if path.text().is_empty() {
            errors.push(path.required(""));
        }
        if paths.contains(&path.text().to_owned()) {
            errors.push(path.invalid_text("must be unique"));
        }
        paths.push(path.text().to_owned());
        let (sub_path, expression) = (mount.child("subPath"), mount.child("subPathExpr"));
        if !sub_path.text().is_empty() {
            descending(&list.child("subPath").with(sub_path.value()), errors);
        }
        if !expression.text().is_empty() {
            if !sub_path.text().is_empty() {
                errors.push(expression.invalid("subPathExpr and subPath are mutually exclusive"));
            }
            descending(&list.child("subPathExpr").with(expression.value()), errors);
        }
    });
}
